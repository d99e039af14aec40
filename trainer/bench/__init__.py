"""`python -m trainer bench`: this machine's numbers, side by side with what they are to be compared with."""
