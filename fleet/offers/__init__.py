"""What can be rented now, where, and at what price per GPU-hour. Reads lists; never rents anything."""
