"""One run: its folder, state, loop, guards and limits."""
