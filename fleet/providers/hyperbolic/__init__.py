"""Hyperbolic: virtual machines of its third API (providers.md 3.1), which run our container over SSH."""
