"""Files by torch.save are read, and nothing in them is run."""

from __future__ import annotations

import argparse
import collections
import datetime
import fractions
import io
import os
import pickle
import zipfile
from pathlib import Path

import pytest

from trainer.errors import TrainerError


class Touches:
    """Pickles into a call of os.system."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_no_code_of_a_file_is_run(tmp_path, torch):
    from trainer.after import deepspeed_pickle

    evil, file = tmp_path / "evil", tmp_path / "file.pt"
    torch.save({"global_steps": 5, "extra": [Touches(evil)], "weight": torch.arange(3.0)}, file)
    found = deepspeed_pickle.load(file)
    assert found["global_steps"] == 5 and found["weight"].tolist() == [0, 1, 2]
    assert not evil.exists()
    torch.load(file, weights_only=False)
    assert evil.exists()  # the trap works


@pytest.mark.parametrize(
    "program",
    [
        b"cos\nsystem\n(Vtouch EVIL\ntR.",
        b"cbuiltins\neval\n(V__import__('os').system('touch EVIL')\ntR.",
        b"cbuiltins\ngetattr\n(cos\n__dict__\nVsystem\ntR(Vtouch EVIL\ntR.",
        b"ctorch._utils\n_rebuild_tensor_v2\n}V__call__\ncos\nsystem\nsb.",
        b"ctorch.serialization\nload\n(VEVIL\ntR.",
    ],
)
def test_programs_in_a_pickle_come_to_nothing(tmp_path, monkeypatch, torch, program):
    from trainer.after import deepspeed_pickle

    monkeypatch.chdir(tmp_path)
    torch.save({}, "file.pt")
    with zipfile.ZipFile("file.pt") as archive:
        kept = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile("evil.pt", "w", zipfile.ZIP_STORED) as archive:
        for name, data in kept.items():
            archive.writestr(name, program if name.endswith("data.pkl") else data)
    try:
        found = deepspeed_pickle.load(tmp_path / "evil.pt")
    except TrainerError:
        found = None
    assert not (tmp_path / "EVIL").exists()
    assert found is None or isinstance(found, deepspeed_pickle.Inert)


def test_a_stand_in_takes_what_any_pickle_gives_and_keeps_its_attributes():
    from trainer.after import deepspeed_pickle

    things = [argparse.Namespace(step=3), collections.Counter("aab"), datetime.date(2020, 1, 1), Path("x")]
    things += [fractions.Fraction(1, 3), collections.defaultdict(list, a=[1]), collections.deque([1, 2])]
    found = deepspeed_pickle._load(io.BytesIO(pickle.dumps(things)))
    assert all(isinstance(one, deepspeed_pickle.Inert) for one in found)
    assert found[0].step == 3


def test_tensors_of_all_types_and_shapes_come_back(tmp_path, torch):
    from trainer.after import deepspeed_pickle

    base = torch.arange(24.0).view(4, 6)
    made = {"cut": base[1:3, ::2], "half": base.bfloat16(), "number": torch.tensor(3), "shared": base}
    made |= {"parameter": torch.nn.Parameter(base), "type": torch.float16, "size": base.shape}
    torch.save(made, tmp_path / "file.pt")
    found = deepspeed_pickle.load(tmp_path / "file.pt")
    for name in ("cut", "half", "parameter", "number", "shared"):
        assert found[name].dtype == made[name].dtype and torch.equal(found[name], made[name].detach())
    assert (found["type"], found["size"]) == (torch.float16, (4, 6))


@pytest.mark.parametrize("data", [b"", b"PK", b"no zip file", b"\x80\x02}q\x00."])
def test_what_torch_save_did_not_write_is_refused_in_one_line(tmp_path, torch, data):
    from trainer.after import deepspeed_pickle

    (tmp_path / "file.pt").write_bytes(data)
    with pytest.raises(TrainerError, match=r"cannot read .*file\.pt: it is cut off"):
        deepspeed_pickle.load(tmp_path / "file.pt")
