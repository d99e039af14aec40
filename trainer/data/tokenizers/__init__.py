"""One file per kind of tokenizer; trainer.data.tokenizer chooses."""
