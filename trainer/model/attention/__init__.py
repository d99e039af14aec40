"""One causal attention, several kernels: Transformer Engine, flash-attn 3 and 2, PyTorch. Chosen once, reported.

choose(asked, device_type, dtype, head_dim, dropout, grouped) -> Choice(name, reason) says which;
build(name, heads, kv_heads, head_dim, dropout) -> Core makes it. A core takes (B, T, heads, head_dim) queries and
(B, T, kv_heads, head_dim) keys and values, and returns (B, T, heads, head_dim).
"""

from trainer.model.attention.choose import Choice, build, choose
from trainer.model.attention.core import Core

__all__ = ["Choice", "Core", "build", "choose"]
