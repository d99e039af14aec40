"""The numbers that no formula gives: a handful, for every program and GPU alike. docs/planning.md shows how they do."""

from __future__ import annotations

# Of the memory the driver reports, what it keeps from processes: page tables, ECC and its own firmware. An H100 of
# 81559 MiB offers 81008 to PyTorch, an A10G of 23028 about 22700.
DRIVER = 0.01

# The CUDA context with the kernels of PyTorch, cuBLAS and cuDNN, outside of PyTorch's allocator: 0.4 to 0.6 GB seen on
# A100 and H100 (recalled).
CONTEXT = 0.55e9

# NCCL's channels and proxies with several GPUs, outside of the allocator too: 0.3 to 0.6 GB in a node (recalled).
NCCL = 0.4e9

# cuBLAS and cuBLASLt workspaces, which PyTorch allocates: 32 MiB each on Hopper (torch.backends.cuda), less before it.
WORKSPACE = 64 * 2**20

# PyTorch rounds and cuts its blocks of memory: the share of what is allocated that lies between, beside idle blocks
# that memory.py counts by name.
FRAGMENTS = 0.03

# How far the terms that are counted of operations (activations, logits, what passes through) have been off, and the
# ones that are exact by definition (weights, moments): the half width of the range.
DOUBT = 0.10
DOUBT_STATES = 0.02
