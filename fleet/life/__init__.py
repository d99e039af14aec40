"""Signs of life of a run: what it says of itself, what its provider says of it, and what may be concluded."""
