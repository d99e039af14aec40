"""FP8 by torch alone: per-tensor scales computed at each use, and torch._scaled_mm. Stateless, compiles as a whole."""
