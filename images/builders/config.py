"""The image config: the base's, with our changes; keys we do not know are kept as they are (image-spec config.md)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from images.oci.manifest import canonical
from images.plan import ImagePlan
from profiles.errors import OutsideFailed

NANOSECONDS = 1_000_000_000
HEALTH = {"Interval": 60 * NANOSECONDS, "Timeout": 10 * NANOSECONDS, "StartPeriod": 120 * NANOSECONDS, "Retries": 3}


def labels(plan: ImagePlan) -> dict[str, str]:
    """The plan's labels and its hash, which cannot stand inside the plan itself."""
    return {**dict(plan.config.labels), "stoker.plan": plan.hash}


def merged_env(base: Sequence[str], ours: Sequence[tuple[str, str]]) -> list[str]:
    """The base's Env with ours replaced in place or added at the end: order decides nothing, but readers compare it."""
    env = dict(item.partition("=")[::2] for item in base)
    env.update(ours)
    return [f"{name}={value}" for name, value in env.items()]


def derive(base_config: bytes, plan: ImagePlan, diff_ids: Sequence[tuple[str, str]]) -> bytes:
    """The config of base + layers.

    diff_ids: (diff_id, created_by) of each layer of ours, foundation first. Raises OutsideFailed when the base's
    config and history contradict each other.
    """
    value = json.loads(base_config)
    config = value.setdefault("config", {}) or {}
    value["config"] = config
    config["Env"] = merged_env(config.get("Env") or [], plan.config.env)
    config["Entrypoint"] = list(plan.config.entrypoint)
    config["Cmd"] = list(plan.config.cmd)
    config["WorkingDir"] = plan.config.workdir
    if plan.config.user:
        config["User"] = plan.config.user
    if plan.config.ports:
        config["ExposedPorts"] = {**(config.get("ExposedPorts") or {}), **{port: {} for port in plan.config.ports}}
    config["Labels"] = {**(config.get("Labels") or {}), **labels(plan)}
    if plan.config.healthcheck:
        config["Healthcheck"] = {"Test": ["CMD", *plan.config.healthcheck], **HEALTH}
    config["StopSignal"] = plan.config.stop_signal
    value["created"] = plan.created
    append_layers(value, plan.created, diff_ids)
    return canonical(value)


def append_layers(value: dict[str, Any], created: str, diff_ids: Sequence[tuple[str, str]]) -> None:
    """diff_ids and history grow together; a base without any history stays without (never half of one)."""
    rootfs = value.setdefault("rootfs", {"type": "layers", "diff_ids": []})
    history = value.get("history")
    if history and sum(not item.get("empty_layer") for item in history) != len(rootfs["diff_ids"]):
        raise OutsideFailed("the base's config is broken: its history and its layers differ in number")
    rootfs["diff_ids"] += [diff_id for diff_id, _ in diff_ids]
    if history is not None or len(rootfs["diff_ids"]) == len(diff_ids):
        value["history"] = (history or []) + [
            {"created": created, "created_by": by, "comment": "stoker"} for _, by in diff_ids
        ]
