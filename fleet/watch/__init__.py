"""Looking at runs again and again: their limits are enforced, what is done is ended, what is lost is handed over."""
