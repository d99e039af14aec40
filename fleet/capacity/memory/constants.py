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

# RAM of a machine per GPU in it, by form factor: assumed from common machines (8 x SXM: 1.5 to 2 TB; workstations with
# a GeForce: 64 to 128 GB). Providers differ, and some share a machine among tenants.
HOST_RAM = {"sxm": 200e9, "nvl": 100e9, "pcie": 100e9}
HOST_RAM_GEFORCE = 64e9

# Machines with more than this are not rented out with GPUs; one with so many times the assumed RAM is another machine.
HOST_MOST = 2e12
HOST_TIMES = 2.0
