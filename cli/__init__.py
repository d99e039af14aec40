"""The command line: how tasks are called, what they print."""
