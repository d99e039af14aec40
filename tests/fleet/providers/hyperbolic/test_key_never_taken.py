"""A machine that does not take the user's SSH key gets a few minutes; then nothing more is rented with that key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fleet.providers.hosts.ssh import NotLetIn
from fleet.providers.hyperbolic import client as hyperbolic
from fleet.providers.values import Container, Instance, Ssh, State
from profiles.errors import WrongInput


class Hands:
    """A clock that is moved by hand."""

    time = datetime(2026, 11, 20, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


def test_it_is_waited_for_and_then_the_launch_is_stopped(tmp_path, monkeypatch):
    def shut(plan: object, lend: object) -> None:
        raise NotLetIn("ubuntu@203.0.113.77:22 does not take the SSH key", "put your public key into the settings")

    monkeypatch.setattr(hyperbolic.settle, "settle_in", shut)
    clock = Hands()
    client = hyperbolic.Hyperbolic("key", tmp_path, clock, {})
    rented = Instance("hyperbolic", "48213", "stk-a", State.RUNNING, gpu="h100-pcie", gpus=1, ssh=Ssh("203.0.113.77"))
    container = Container("night", "registry.example/night@sha256:" + "0" * 64)
    for _ in range(3):
        with pytest.raises(NotLetIn):
            client.settle_in(rented, container, "stk-a")
        clock.sleep(hyperbolic.KEY_ARRIVES.total_seconds() / 3 - 1)
    clock.sleep(10)
    with pytest.raises(WrongInput, match="does not take the SSH key"):
        client.settle_in(rented, container, "stk-a")
