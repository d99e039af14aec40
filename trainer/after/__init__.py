"""After pretraining: evaluate, sample, fine-tune, export, inspect."""
