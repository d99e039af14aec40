"""The trainer: a GPT training loop that survives kill -9. Baked into the image; imports nothing of ours.

Everything here runs on Python 3.10 (NGC 24.10) and later, and on torch 2.5 and later. Only the modules that train
import torch; `environment`, `preflight` and `health` work without it.
"""

__version__ = "0.1.0"
