"""Words that the help of many tasks has in common."""

PROFILE = "Profile name or path to a YAML file."
JSON = "Print one JSON document on standard output."
DRY = "Say what would be done, do nothing."
