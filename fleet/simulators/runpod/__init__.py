"""RunPod's REST v2, on loopback (providers.md 1 and 4.1). Knows nothing of our client."""
