"""Vast.ai as providers.md 2 describes it: offers, bids, templates, instances, volumes, logs, money."""
