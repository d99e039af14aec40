"""What a training run needs, before anything is rented: memory, speed, hours, dollars. Pure functions, no torch."""
