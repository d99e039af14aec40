"""README.md of an export: what the model is, how it was trained, how it is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer.after.hub_config import CLASSES
from trainer.model.count import count

if TYPE_CHECKING:
    from trainer.after.place import Place
    from trainer.after.source import Weights
    from trainer.data.tokenizer import Tokenizer


def text(weights: Weights, tokenizer: Tokenizer | None, dtype: str, found: Place) -> str:
    """The card, with what is known and nothing else."""
    shape, facts = weights.shape, weights.facts
    rows = [
        ("family", f"{shape.family} (`{CLASSES[shape.family]}`)"),
        ("parameters", f"{count(shape).total:,}"),
        ("layers, width, heads", f"{shape.layers}, {shape.width}, {_heads(shape)}"),
        ("context", f"{shape.context:,} tokens"),
        ("vocabulary", _vocabulary(shape.vocab, tokenizer)),
        ("weights", dtype),
        ("steps", facts.get("step")),
        ("tokens seen", f"{facts['tokens']:,}" if facts.get("tokens") else None),
        *_trained(facts),
        *_measured(found),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows if value not in (None, ""))
    chatty = ", fine-tuned on conversations" if facts.get("sft") else ""
    name = (found.run or found.path).resolve().name
    return f"{FRONT}\n# {name}\n\nA language model{chatty}.\n\n| | |\n|---|---|\n{table}\n\n{LOADING}"


FRONT = """---
library_name: transformers
pipeline_tag: text-generation
---
"""
LOADING = """## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("THIS_FOLDER")
tokenizer = AutoTokenizer.from_pretrained("THIS_FOLDER")
ids = tokenizer("Once", return_tensors="pt")
print(tokenizer.decode(model.generate(**ids, max_new_tokens=50)[0]))
```

Or without transformers: `python -m trainer sample THIS_FOLDER --prompt Once`.
"""


def _heads(shape: Any) -> str:
    grouped = shape.kv_heads and shape.kv_heads != shape.heads
    return f"{shape.heads} ({shape.kv_heads} of keys and values)" if grouped else str(shape.heads)


def _vocabulary(vocab: int, tokenizer: Tokenizer | None) -> str:
    if tokenizer is None:
        return f"{vocab:,} (no tokenizer here)"
    padded = f", padded from {tokenizer.vocab:,}" if tokenizer.vocab < vocab else ""
    return f"{vocab:,}{padded}, tokenizer {tokenizer.name}"


def _trained(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    config = facts.get("config")
    if not config:
        return []
    train, optim = config["train"], config["optim"]
    batch = f"{train['batch']} windows of {config['model']['context']} tokens"
    return [
        ("batch", batch),
        ("optimizer", f"{optim['name']}, rate {optim['lr']:g}, {optim['schedule']}"),
        ("precision asked", config["precision"]["name"]),
        ("seed", train["seed"]),
        ("fine-tuned from", (facts.get("sft") or {}).get("base")),
    ]


def _measured(found: Place) -> list[tuple[str, Any]]:
    """The last evaluation of the run. A run without metrics is no fault."""
    from trainer.after.history import last

    if found.run is None:
        return []
    line = last(found.run, "eval") or {}
    loss, bits = line.get("val_loss"), line.get("bits_per_byte")
    return [
        (
            "validation loss (last)",
            f"{loss:.4f} nats per token at step {line.get('step')}" if loss is not None else None,
        ),
        ("bits per byte (last)", f"{bits:.4f}" if bits is not None else None),
    ]
