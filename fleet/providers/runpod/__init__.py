"""RunPod: pods over REST v2, the balance over what is left of GraphQL (providers.md 1)."""
