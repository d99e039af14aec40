"""What litgpt's recipes (config_hub/finetune/*/{lora,qlora,full}.yaml) set by model, where they do not agree.

lora_r with lora_query, lora_key, ..., lora_head; global_batch_size of full fine-tuning. The same for LoRA and QLoRA.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from fleet.capacity.setup import Adapter

Value = TypeVar("Value")

ALL = ("q", "k", "v", "o", "mlp", "head")
ADAPTERS = {  # beginnings of models' names; every other recipe: rank 32 on queries and values
    "phi-2": Adapter(8, ALL),
    "phi-3": Adapter(8, ALL),
    "gemma-2b": Adapter(8, ALL),
    "gemma-2-2b": Adapter(8, ALL),
    "gemma-2-9b": Adapter(16, ALL),
    "gemma-7b": Adapter(16, ALL),
    "tiny": Adapter(32, ALL),
}
FULL_SEQUENCES = {"llama": 64, "gemma-2b": 16, "tiny": 32}  # per optimizer step; every other recipe: 8


def recipe(by_model: Mapping[str, Value], model: str) -> Value | None:
    """The entry whose key the model's name begins with."""
    return next((value for start, value in by_model.items() if model.startswith(start)), None)
