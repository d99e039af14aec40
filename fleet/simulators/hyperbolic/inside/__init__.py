"""What stands in a simulated machine's PATH in place of programs that it lacks; each runs there as a module."""
