"""A bare machine over SSH: checked, made ready, and given a container to run (providers.md 3.8)."""
