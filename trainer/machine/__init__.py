"""Where we are: driver, container limits, libraries, the baked profile. Nothing here needs torch or a GPU."""
