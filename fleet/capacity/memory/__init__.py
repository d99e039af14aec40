"""Peak bytes of one GPU in a training step, term by term, and what to change when they do not fit."""
