"""Where checkpoints go besides the disk: hf://, gs://, s3://, ssh://, file://, behind one interface (store.py)."""

from __future__ import annotations
