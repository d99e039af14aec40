"""Back to training after a loss: where to, at what price, and when to give up."""
