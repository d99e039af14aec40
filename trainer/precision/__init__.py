"""What numbers the matrices are multiplied in: one policy, resolved once, and the back ends that do it."""
