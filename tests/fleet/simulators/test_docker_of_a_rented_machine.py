"""`docker run` on a simulated machine, as it reaches the real engine that this machine shares with others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fleet.simulators.hyperbolic.inside.engine import real
from fleet.simulators.hyperbolic.inside.flags import parse, rehearsed

ASKED = [
    *("--detach", "--name", "stk-a", "--gpus", "all", "--ipc=host", "--ulimit", "memlock=-1"),
    *("--publish", "8888:8888/tcp", "--volume", "/workspace:/workspace", "box@sha256:1", "run", "--steps", "3"),
]
# An engine that may raise no limits, as one inside a container; it says what it was asked.
DOCKER = """#!/bin/sh
echo "$*" >>{told}
case " $* " in
*' --ulimit '*) echo "error setting rlimits for ready process: operation not permitted" >&2 && exit 125 ;;
esac
exit {code}
"""


def facts(folder: Path, code: int = 0) -> dict:
    program = folder / "docker"
    program.write_text(DOCKER.format(told=folder / "told", code=code))
    program.chmod(0o755)
    return {
        "docker": str(program),
        "id": "vm-1",
        "mark": "vm-1@here",
        "runtime": True,
        "environment": {"STOKER_CLOCK": "http://127.0.0.1:1"},
    }


def told(folder: Path) -> list[str]:
    return (folder / "told").read_text().splitlines()


def test_volumes_are_on_its_own_disk_and_no_port_is_published():
    words = rehearsed(parse(ASKED), "/vm/disk", {"of": "vm-1"}, gpus=False)
    assert "/vm/disk/workspace:/workspace" in words and "--publish" not in words and "--gpus" not in words
    assert words[-6:] == ["--network", "host", "box@sha256:1", "run", "--steps", "3"]
    assert words[words.index("--ulimit") + 1] == "memlock=-1" and words[words.index("--label") + 1] == "of=vm-1"
    assert "--gpus" in rehearsed(parse(ASKED), "/vm/disk", {}, gpus=True)
    assert "--ulimit" not in rehearsed(parse(ASKED), "/vm/disk", {}, gpus=False, limits=False)


def test_an_engine_that_may_raise_no_limits_runs_it_without_them(tmp_path, capfd):
    assert real(tmp_path, facts(tmp_path), ["run", *ASKED]) == 0
    first, removed, second = told(tmp_path)
    assert "--ulimit memlock=-1" in first and removed == "rm --force stk-a"
    assert "--ulimit" not in second and "--env STOKER_CLOCK=http://127.0.0.1:1" in second
    assert "--label stoker.simulator.vm=vm-1@here" in second
    assert "rlimit" not in capfd.readouterr().err


def test_another_refusal_is_handed_on(tmp_path, capfd):
    program = tmp_path / "docker"
    known = facts(tmp_path)
    program.write_text(f"#!/bin/sh\necho x >>{tmp_path}/told\necho no such image >&2\nexit 125\n")
    assert real(tmp_path, known, ["run", *ASKED]) == 125
    assert len(told(tmp_path)) == 1 and "no such image" in capfd.readouterr().err


@pytest.mark.parametrize("words", [["ps", "-a"], ["logs", "stk-a"]])
def test_everything_else_is_the_engines(tmp_path, words):
    assert real(tmp_path, facts(tmp_path, 3), words) == 3
    assert told(tmp_path) == [" ".join(words)]


def test_a_gpu_without_its_runtime_is_refused_before_the_engine_is_asked(tmp_path, capfd):
    assert real(tmp_path, {**facts(tmp_path), "runtime": False}, ["run", *ASKED]) == 125
    assert not (tmp_path / "told").exists() and "device driver" in capfd.readouterr().err


def test_keys_of_a_file_may_log_in(tmp_path):
    from fleet.simulators.__main__ import open_sites, read_arguments
    from fleet.simulators.bodies.state import State

    (tmp_path / "keys").write_text("ssh-ed25519 AAAA one\n\nssh-ed25519 BBBB two\n")
    given = read_arguments(["--hyperbolic", "--vast", "--authorized-keys", str(tmp_path / "keys")])
    sites, _ = open_sites(given, State(tmp_path / "state"))
    site = next(one for one in sites if one.name == "hyperbolic")
    assert json.loads(site.answer("POST", "/_sim/authorized_keys", {}, b"{}").bytes()) == {"keys": 2}
