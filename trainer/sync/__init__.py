"""Checkpoints between a run folder and a remote store: sending, fetching, and the process beside the training."""
