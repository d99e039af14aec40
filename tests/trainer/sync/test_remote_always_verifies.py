"""Whatever fails and whenever the sending process dies: a reader of the store sees only checkpoints that verify, and
when the faults stop, everything arrives."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.sim.faulty_store import FaultyStore, Killed
from tests.trainer.sync.making import damage, save, shown, start
from trainer.checkpoint import folder, verify
from trainer.stores.file import Folder
from trainer.stores.store import StoreError
from trainer.sync.prune import Rules
from trainer.sync.push import push

FAR = st.sampled_from([0, 0.2, 0.5, 0.8, 1])
PLAIN = st.sampled_from(["429", "503", "denied", "quota 0.5", "after", "lose", "truncate", "reorder", "vanish"])
CUT = st.builds("{} {}".format, st.sampled_from(["cut", "kill"]), FAR)
FAULTS = st.lists(st.one_of(st.just("ok"), st.just("ok"), PLAIN, CUT), max_size=14)
STEPS = st.sampled_from([10, 20, 30, 40])
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("save"), STEPS, st.sampled_from(["", "another"])),
        st.tuples(st.just("drop"), STEPS, st.just("")),
        st.tuples(st.just("damage"), STEPS, st.just("")),
        st.tuples(st.just("push"), FAULTS, st.sampled_from([0, 1, 2])),
        st.tuples(st.just("push"), FAULTS, st.sampled_from([0, 1, 2])),
    ),
    max_size=12,
)


MEMORY = next((place for place in ["/dev/shm"] if os.access(place, os.W_OK)), None)  # fsync is free there


class World:
    """A run folder, its store, and somebody who looks at the store whenever it changes."""

    def __init__(self, place: Path) -> None:
        self.run, self.there = start(place / "run"), place / "there"
        self.store = Folder(f"file://{self.there}")
        self.most = 0

    def look(self) -> None:
        seen = shown(self.there)
        assert set(seen.values()) <= {None}, seen
        assert seen or not self.most, "the last good one is gone"
        self.most = max(self.most, len(seen))

    def checkpoint(self, step: int) -> Path:
        return self.run / "checkpoints" / folder.name_of(step)

    def act(self, kind: str, what, how) -> None:
        if kind == "save":
            save(self.run, what, salt=how)
        elif kind == "drop":
            shutil.rmtree(self.checkpoint(what), ignore_errors=True)
        elif kind == "damage" and self.checkpoint(what).exists():
            damage(self.checkpoint(what))
        elif kind == "push":
            self.push(what, Rules(keep=how))
        self.look()

    def push(self, faults, rules: Rules) -> None:
        store = FaultyStore(self.store, faults, self.look, self.vanish)
        try:
            push(self.run, store, lambda _: None, lambda _: None, rules)
        except (StoreError, Killed):
            pass

    def vanish(self) -> None:
        """Retention takes the newest."""
        for path in folder.found(self.run / "checkpoints")[:1]:
            folder.discard(path)

    def good(self) -> list[Path]:
        return [path for path in folder.found(self.run / "checkpoints") if verify.fault(path) is None]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ACTIONS)
@example([("save", 10, ""), ("push", ["ok"] * 3 + ["cut 0.5"], 0), ("save", 10, "another"), ("push", [], 0)])
@example([("save", 10, ""), ("push", ["ok"] * 3 + ["cut 0.5"], 0), ("damage", 10, "")])
def test_the_store_never_shows_a_checkpoint_that_does_not_verify(actions):
    with tempfile.TemporaryDirectory(dir=MEMORY) as place:
        world = World(Path(place))
        for action in actions:
            world.act(*action)
        save(world.run, 50)
        for _ in range(2):
            world.push([], Rules())
            world.look()
        arrived = shown(world.there)
        for path in world.good():
            manifest = (world.there / "checkpoints" / path.name / "manifest.json").read_bytes()
            assert path.name in arrived and manifest == (path / "manifest.json").read_bytes()
        leftover = {path.name for path in (world.there / "checkpoints").iterdir()} - set(arrived)
        assert leftover == set()


def test_the_look_sees_a_checkpoint_that_does_not_verify(tmp_path):
    """Else the test above could not fail."""
    world = World(tmp_path)
    save(world.run, 10)
    world.push([], Rules())
    damage(world.there / "checkpoints/step-00000010")
    assert shown(world.there)["step-00000010"] is not None
