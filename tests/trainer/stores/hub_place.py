"""A simulated Hub that this process's huggingface_hub talks to, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.sim.hub import HubServer, hub
from tests.trainer.stores.specification import item, noise
from trainer.stores.store import Item

REPOSITORY = "tester/run"
STEP = "checkpoints/step-00000010"


def weights(seed: int = 0, name: str = f"{STEP}/weights.safetensors", size: int = 200_000) -> Item:
    return item(name, noise(size, seed))


@contextmanager
def served(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """The library reads some of its settings once, when it is imported, and others at every call: both are set."""
    constants = pytest.importorskip("huggingface_hub.constants") if not os.environ.get("CI") else None
    if constants is None:
        from huggingface_hub import constants
    for name in [name for name in os.environ if name.startswith(("HF_", "HUGGING"))]:
        monkeypatch.delenv(name)
    with hub(folder / "hub") as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", server.token)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder / "no-login"))
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "cache"))
        yield server
