"""The GPT families behind one module, what they weigh and cost, and what they compute with."""
