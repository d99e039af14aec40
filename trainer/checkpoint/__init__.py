"""A checkpoint on disk: its folder, its manifest, its tensors; how it is written, verified, kept and compared."""
