"""Vast.ai: containers on hosts' slices, on demand or by bid (providers.md 2)."""
