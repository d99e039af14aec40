"""What to do about a slow run: sentences from its own numbers.

The measure is MFU, not GPU utilisation: nvidia-smi's utilisation is the share of time in which any kernel ran at all,
and stays near 100% in a run that wastes half of the GPU. Nor is it tokens/s or steps/h: those depend on the model and
the batch. What is reached elsewhere, against the bf16 peak: 35 to 50% in bf16 on H100 at about 1B parameters (llm-
foundry's table, nanochat's log), 52 to 60% on A100 (llm-foundry), about 58% in FP8 (nanochat d26).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

DATA_WAIT = 0.05  # share of a step
OPTIMIZER = 0.15
OTHER = 0.10
MEMORY_LOW, MEMORY_HIGH = 0.60, 0.97  # share of the GPU's memory reserved at the peak
MFU_LOW, MFU_FAIR = 0.25, 0.35  # of the bf16 peak
LARGE = 100_000_000  # parameters; below, a GPU is bound by launches and no MFU is a fault
SAVE, EVALUATION = 0.05, 0.10  # share of the run's time
OVERFITTING = 3  # evaluations in a row


def advise(
    performance: Mapping[str, Any],
    *,
    parameters: int = 0,
    settings: Mapping[str, Any] | None = None,
    gpus: Sequence[Mapping[str, Any]] = (),
    spent: Mapping[str, Any] | None = None,
) -> list[str]:
    """Sentences, most telling first; none when nothing is amiss.

    performance: a record of Meter.end, best one with a split. settings: the config as nested plain values. gpus: the
    newest sample of gpu_metrics.jsonl. spent: Goodput.to_json() of the run. A pure function; missing numbers are
    missing sentences.
    """
    chosen = settings or {}
    found = [*_speed(performance, parameters, chosen, gpus), *_split(performance, chosen)]
    return [*found, *_memory(performance, chosen), *_spent(spent or {}, chosen), *_gpus(gpus)]


def overfitting(evaluations: Sequence[Mapping[str, Any]]) -> str | None:
    """One sentence when the validation loss rose for three evaluations in a row; evaluations: `eval` lines."""
    losses = [line["val_loss"] for line in evaluations if isinstance(line.get("val_loss"), int | float)]
    newest = losses[-OVERFITTING - 1 :]
    if len(newest) <= OVERFITTING or any(after <= before for before, after in pairwise(newest)):
        return None
    return (
        f"the validation loss rose {OVERFITTING} evaluations in a row, to {newest[-1]:.4f} (best {min(losses):.4f}):"
        " the model learns its data by heart; stop at the best (limits.patience), or give it more data"
    )


def _speed(
    performance: Mapping[str, Any], parameters: int, settings: Mapping[str, Any], gpus: Sequence[Mapping[str, Any]]
) -> list[str]:
    share = (performance.get("mfu") or {}).get("bf16")
    if share is None or parameters < LARGE or share >= MFU_FAIR:
        return []
    named = ((performance.get("peaks") or {}).get("bf16") or {}).get("name", "bf16 peak")
    if share >= MFU_LOW:
        return [f"MFU is {share:.1%} of {named}; 35 to 50% is reached elsewhere in bf16 at this size"]
    sentences = [f"MFU is {share:.1%} of {named}, far below the 35 to 50% reached elsewhere: {_look_at(settings)}"]
    busy = [one["utilisation"] for one in gpus if isinstance(one.get("utilisation"), int | float)]
    if busy and min(busy) > 0.85:
        sentences.append(
            f"GPU utilisation of {min(busy):.0%} does not contradict that: it says a kernel runs, not how well"
        )
    return sentences


def _look_at(settings: Mapping[str, Any]) -> str:
    """The settings that cost speed, the dearest first."""
    causes = []
    if _of(settings, "parallel", "offload") not in (None, "none"):
        causes.append("parallel.offload goes over PCIe each step: none, if the model fits without")
    if _of(settings, "precision", "name") == "fp32":
        causes.append("precision.name is fp32: bf16 is several times faster")
    if _of(settings, "train", "checkpointing") == "full":
        causes.append("train.checkpointing full computes the forward pass twice: selective or none, if memory allows")
    if _of(settings, "train", "compile") is False:
        causes.append("train.compile is off")
    if _of(settings, "model", "attention") not in (None, "auto"):
        causes.append(f"model.attention is {_of(settings, 'model', 'attention')}: auto takes the fastest there is")
    causes.append("a larger micro-batch (train.micro_batch=0 finds it)")
    return "; ".join(causes)


def _split(performance: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    split = performance.get("split") or {}
    parts = {name: value for name, value in split.items() if name != "step" and isinstance(value, int | float)}
    whole = sum(parts.values())
    if whole <= 0:
        return []
    sentences = []
    data, optimizer, other = (parts.get(name, 0.0) / whole for name in ("data", "optimizer", "other"))
    if data > DATA_WAIT:
        now = _of(settings, "data", "prefetch")
        more = "" if now is None else f" (now {now})"
        sentences.append(
            f"waiting for data is {data:.0%} of a step (fair: below 5%): raise data.prefetch{more}, keep the shards on"
            " a local disk, look at the CPU in gpu_metrics.jsonl"
        )
    if optimizer > OPTIMIZER:
        remedy = "a larger train.batch gives it fewer turns"
        if _of(settings, "parallel", "offload") not in (None, "none"):
            remedy = "parallel.offload=none, if the model fits without"
        sentences.append(f"the optimizer is {optimizer:.0%} of a step (fair: below 15%): {remedy}")
    if other > OTHER:
        sentences.append(
            f"{other:.0%} of a step is outside data, forward, backward and optimizer (fair: below 10%): print less"
            " often (metrics.every), look for work on the host between the kernels"
        )
    return sentences


def _memory(performance: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    memory = performance.get("memory") or {}
    used, total = memory.get("max_reserved_bytes"), memory.get("total_bytes")
    if not used or not total:
        return []
    share = used / total
    if share > MEMORY_HIGH or memory.get("allocator_retries"):
        return [
            f"GPU memory reached {share:.0%} of {total / 2**30:.0f} GiB"
            f" ({memory.get('allocator_retries', 0)} allocations tried twice, which is slow): a"
            " smaller train.micro_batch"
        ]
    if share >= MEMORY_LOW:
        return []
    remedies = ["a larger train.micro_batch (0 finds the largest that fits)"]
    if _of(settings, "train", "checkpointing") in ("selective", "full"):
        remedies.append("less train.checkpointing")
    if _of(settings, "parallel", "offload") not in (None, "none"):
        remedies.append("no parallel.offload")
    return [f"GPU memory peaked at {share:.0%} of {total / 2**30:.0f} GiB: there is room for {', '.join(remedies)}"]


def _spent(spent: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    seconds = spent.get("seconds") or 0.0
    if seconds <= 0:
        return []
    sentences = []
    save, evaluation, lost = ((spent.get(name) or 0.0) / seconds for name in ("save", "evaluation", "lost"))
    if save > SAVE:
        now = _of(settings, "checkpoint", "every")
        more = "" if now is None else f" (now {now} steps)"
        sentences.append(f"saving is {save:.0%} of the run's time (fair: below 5%): raise checkpoint.every{more}")
    if evaluation > EVALUATION:
        sentences.append(
            f"evaluation is {evaluation:.0%} of the run's time (fair: below 10%): raise evaluate.every, lower"
            " evaluate.tokens"
        )
    if lost > SAVE:
        sentences.append(
            f"{lost:.0%} of the run's time went into steps that were lost and done again: lower checkpoint.every"
        )
    return sentences


def _gpus(gpus: Sequence[Mapping[str, Any]]) -> list[str]:
    sentences = []
    for one in gpus:
        slow = [reason for reason in one.get("throttle") or [] if reason not in ("application_clocks", "sync_boost")]
        hot = [reason for reason in slow if reason != "power_cap"]  # the power cap is the usual state of a busy GPU
        if hot:
            heat = f" at {one['temperature_c']} C" if "temperature_c" in one else ""
            sentences.append(
                f"GPU {one.get('index')} is slowed down ({', '.join(hot)}){heat}: the host's cooling or power"
            )
        if one.get("ecc_uncorrected"):
            sentences.append(
                f"GPU {one.get('index')} has {one['ecc_uncorrected']} uncorrected memory errors:"
                " save, and change the machine"
            )
    return sentences


def _of(settings: Mapping[str, Any], section: str, key: str) -> Any:
    found = settings.get(section)
    return found.get(key) if isinstance(found, Mapping) else None
