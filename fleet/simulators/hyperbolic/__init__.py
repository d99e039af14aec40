"""Hyperbolic's on-demand API, generation 3, as providers.md 3 describes it: bare VMs with a real SSH log-in."""
