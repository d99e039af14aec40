"""What a run says of itself: logs, speeds, money, the GPU's state."""
