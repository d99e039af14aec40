"""What follows from the numbers: which machine, which batch, how much data."""
