"""From a ready machine to a running container, once, whatever breaks in between; and no secret stays behind."""

from __future__ import annotations

import shlex
import subprocess
import threading
from pathlib import Path

import pytest

from fleet.providers.hosts import running
from fleet.providers.hosts.start import pull, start
from fleet.providers.values import Login
from profiles.errors import CheckFailed, OutsideFailed, WrongInput
from tests.fleet.providers.hosts.rented_machine import IMAGE, SECRET, Machine, container, until
from tests.sim.cut_line import CutLine

pytestmark = pytest.mark.slow
LOGIN = Login("registry.example", "ada", "registry-password")


def run(machine: Machine, tmp: Path, port: int = 0, tag: str = "stk-1", **changed: object) -> None:
    host, what = machine.host(tmp, port), container(**changed)
    folder = host.look(tag).folder
    pull(host, folder, what)
    start(host, folder, what, tag)


def test_the_container_gets_the_flags_the_variables_and_the_secrets(machine: Machine, tmp_path: Path):
    run(machine, tmp_path, command=("train", "two words"), ports=("22/tcp", "6006/tcp"))
    (words,) = machine.calls("run")
    text = shlex.join(words)
    for flag in (
        "--detach --name stk-1",
        "--gpus all --ipc=host --ulimit memlock=-1 --ulimit stack=67108864",
        "--restart no",
        "--volume /workspace:/workspace",
        "--publish 6006:6006/tcp",
        "--label stoker.tag=stk-1",
    ):
        assert flag in text, text
    assert words[-3:] == [IMAGE, "train", "two words"] and "22:22" not in text
    assert machine.container("stk-1") == {
        "STOKER_RUN": "gpt",
        "TRAINING_HOURS": "8",
        "HF_TOKEN": SECRET,
        "STOKER_TAG": "stk-1",
    }


def test_a_value_of_several_lines_arrives_whole(machine: Machine, tmp_path: Path):
    key = '{\n "private": "it\'s $(secret)"\n}'
    run(machine, tmp_path, secrets={"GOOGLE_KEY": key})
    assert (machine.state / "multi").read_text() == f"GOOGLE_KEY={key}\n"
    assert "secret" not in str(machine.calls("run"))


def test_asked_for_twice_it_runs_once(machine: Machine, tmp_path: Path):
    run(machine, tmp_path)
    run(machine, tmp_path)
    assert len(machine.calls("run")) == 1 == len(machine.calls("pull"))


def test_one_that_has_ended_is_left_alone_and_one_that_never_ran_is_made_again(machine: Machine, tmp_path: Path):
    run(machine, tmp_path)
    state = machine.state / "containers/stk-1/state"
    state.write_text("exited|1|2026-01-01T00:00:00Z\n")
    assert machine.host(tmp_path).look("stk-1").ran
    run(machine, tmp_path)
    assert len(machine.calls("run")) == 1
    state.write_text("created|128|0001-01-01T00:00:00Z\n")
    assert not machine.host(tmp_path).look("stk-1").ran
    run(machine, tmp_path)
    assert len(machine.calls("run")) == 2 and machine.host(tmp_path).look("stk-1").ran


def test_an_engine_that_cannot_be_asked_is_no_missing_container(machine: Machine, tmp_path: Path):
    machine.says("wrong", "inspect=Cannot connect to the Docker daemon\n")
    assert machine.host(tmp_path).look("stk-1").container == "unknown"
    with pytest.raises(OutsideFailed, match="Cannot connect"):
        run(machine, tmp_path)
    assert machine.calls("run") == []


def test_a_connection_cut_during_the_start_leaves_one_container_and_no_secret(machine: Machine, tmp_path: Path):
    host = machine.host(tmp_path)
    pull(host, host.look("stk-1").folder, container())
    machine.says("slow-start", "")
    with CutLine(machine.port) as line:
        lost: list[Exception] = []

        def begin() -> None:
            try:
                start(machine.host(tmp_path, line.port), str(machine.memory), container(), "stk-1")
            except OutsideFailed as cut:
                lost.append(cut)

        thread = threading.Thread(target=begin)
        thread.start()
        until((machine.state / "containers/stk-1/env").exists, thread)
        line.cut()
        thread.join(30)
    assert lost
    (machine.state / "slow-start").unlink()
    start(host, str(machine.memory), container(), "stk-1")  # waits for the first one's end, and finds its container
    assert len(machine.calls("run")) == 1
    assert host.look("stk-1").container == "running"
    assert SECRET not in "".join(machine.left())


def test_no_secret_is_in_any_command_line_here_or_there_while_it_goes_on(machine: Machine, tmp_path: Path):
    machine.says("slow-start", "")
    machine.says("private", "")
    thread = threading.Thread(target=run, args=(machine, tmp_path), kwargs={"login": LOGIN})
    thread.start()
    until((machine.state / "containers/stk-1/env").exists, thread)
    shown = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    assert "docker run" in shown and "ssh" in shown
    assert SECRET not in shown and LOGIN.password not in shown
    assert SECRET in "".join(machine.left())  # in memory, for docker to read
    assert all(path.stat().st_mode & 0o077 == 0 for path in machine.memory.rglob("*"))
    (machine.state / "slow-start").unlink()
    thread.join(30)
    assert SECRET not in "".join(machine.left()) and LOGIN.password not in "".join(machine.left())
    assert not list(machine.folder.rglob("config.json"))
    made_up = machine.state / "containers"  # the engine keeps a container's variables, as the real one does
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and made_up not in path.parents]
    assert not [path for path in kept if SECRET.encode() in path.read_bytes()]


def test_a_private_image_is_pulled_with_the_login_which_is_gone_after_it(machine: Machine, tmp_path: Path):
    machine.says("private", "")
    with pytest.raises(WrongInput, match="may not be pulled"):
        run(machine, tmp_path)
    run(machine, tmp_path, login=LOGIN)
    (words,) = machine.calls("login")
    assert words == ["login", "registry.example", "--username", "ada", "--password-stdin"]
    assert not (machine.memory / "login").exists()


def test_a_wrong_password_is_said_without_it(machine: Machine, tmp_path: Path):
    with pytest.raises(WrongInput, match="refuses the login of ada") as refused:
        run(machine, tmp_path, login=Login("registry.example", "ada", "wrong-password"))
    assert "wrong-password" not in refused.value.what
    assert machine.calls("pull") == []


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("write /var/lib/docker/tmp: no space left on device", CheckFailed),
        ("manifest for x not found: manifest unknown", WrongInput),
        ("net/http: TLS handshake timeout", OutsideFailed),
    ],
)
def test_a_failed_pull_tells_whose_fault_it_is(machine: Machine, tmp_path: Path, words: str, kind: type):
    machine.says("wrong", f"pull={words}\n")
    with pytest.raises(kind):
        run(machine, tmp_path)
    machine.says("wrong", "")
    run(machine, tmp_path)
    assert machine.host(tmp_path).look("stk-1").ran


def test_a_long_pull_tells_how_far_it_is_and_goes_on(machine: Machine, tmp_path: Path):
    machine.says("slow", "")
    host = machine.host(tmp_path)
    folder = host.look("x").folder
    words = ""
    while "goes on: 1 of 2 layers" not in words:  # it says less before its first line
        with pytest.raises(OutsideFailed, match="pull goes on") as unfinished:
            pull(host, folder, container(), slice=0)
        words = unfinished.value.what
    (machine.state / "slow").unlink()
    run(machine, tmp_path)
    assert len(machine.calls("pull")) == 1


def test_docker_that_was_not_told_of_the_toolkit_is_told_and_asked_again(machine: Machine, tmp_path: Path):
    machine.says("wrong", 'run=could not select device driver "" with capabilities: [[gpu]]\n')
    machine.has("service", f"#!/bin/sh\nrm -f {machine.state}/wrong\n")
    run(machine, tmp_path)
    assert (machine.state / "ctk").exists() and machine.host(tmp_path).look("stk-1").ran


def test_a_driver_that_the_image_refuses_rules_the_machine_out(machine: Machine, tmp_path: Path):
    machine.says("wrong", "run=nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.9\n")
    with pytest.raises(CheckFailed, match="gets no GPU"):
        run(machine, tmp_path)


def test_a_secret_in_the_engines_words_is_masked(machine: Machine, tmp_path: Path):
    machine.says("wrong", f"run=cannot parse {SECRET}\n")
    with pytest.raises(OutsideFailed, match=r"cannot parse \*\*\*"):
        run(machine, tmp_path)


def test_the_output_is_followed_over_a_lost_connection_without_a_line_twice(machine: Machine, tmp_path: Path):
    run(machine, tmp_path)
    machine.says("output", "".join(f"2026-01-01T00:00:0{second}.000000000Z line {second}\n" for second in range(5)))
    docker = (machine.bin / "docker").read_text()
    # After three lines nothing comes for long: then the connection is cut.
    dying = f"""#!/bin/sh
if [ "$1" = logs ] && [ ! -e {tmp_path}/died ]; then
    head -n 3 {machine.state}/output; : >{tmp_path}/died; sleep 20
fi
"""
    machine.has("docker", dying + docker.split("\n", 1)[1])
    host = machine.host(tmp_path)
    with CutLine(machine.port) as line:
        through = machine.host(tmp_path, line.port)
        lines = []
        for row in running.logs(through, "stk-1", follow=True):
            lines.append(row)
            if row == "line 2" and line.connections == 1:
                line.cut()
        assert line.connections == 2
    assert lines == [f"line {number}" for number in range(5)]
    with pytest.raises(OutsideFailed, match="no output of stk-2"):
        list(running.logs(host, "stk-2"))


def test_a_container_is_stopped_and_none_is_success(machine: Machine, tmp_path: Path):
    run(machine, tmp_path)
    host = machine.host(tmp_path)
    running.stop(host, "stk-1")
    running.stop(host, "stk-unknown")
    assert host.look("stk-1").container == "exited"
