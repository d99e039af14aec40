"""The sizes a guide calls small to xlarge, as depths of nanochat's dial: 64 of width per layer, heads of 128.

The guide gives 60M, 160M, 410M and 920M parameters for them; they have 1.4 to 8.8 times as many (docs/planning.md).
"""

from __future__ import annotations

SIZES = {"small": 12, "medium": 20, "large": 32, "xlarge": 48}
CLAIMED = {"small": 60e6, "medium": 160e6, "large": 410e6, "xlarge": 920e6}  # parameters, by that guide
