"""How a provider is spoken to: HTTPS with a key, bounded in time and size, repeated only where that is safe."""
