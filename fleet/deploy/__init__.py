"""From an image and its plan to what is rented for it: needs, candidates, the container, the requests."""
