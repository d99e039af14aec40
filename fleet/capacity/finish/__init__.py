"""From a speed and a goal to hours, dollars, checkpoints and disk. Pure functions."""
