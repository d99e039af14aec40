"""What can be asked of a provider, in the same words for all of them; each says what it cannot do."""
