"""A plan shown: at the terminal and as one HTML page."""
