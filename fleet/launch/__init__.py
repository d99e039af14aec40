"""From a wish to one machine, exactly once, and back to none."""
