"""Transformer Engine 1.11 to 2.20 behind one spelling. It is imported inside functions: it wants a driver."""
