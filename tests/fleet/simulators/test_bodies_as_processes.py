"""Pods that are processes: they really run, really end with all their children, and are never left behind."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fleet.simulators.bodies.body import Spec
from fleet.simulators.bodies.process import Process, Processes, began
from fleet.simulators.bodies.state import State
from tests.fleet.simulators.rehearsing import ROOT, program, until
from tests.fleet.simulators.talking import Talk, pod

FOREVER = "echo begun $STOKER_RUN; echo $$ > {workspace}/pid; sleep 1000 & wait"


def shell(script: str) -> str:
    return f"sh -c {shlex.quote(script)}"


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "state")


def process(state: State, script: str, **env: str) -> Process:
    return Process(Spec("m1", "image:1", env, mounts={"/workspace": state.part("volumes", "m1")}), shell(script), state)


def gone(pid: int) -> bool:
    """Whether nobody has that number any more, but for a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_process_sees_its_environment_and_nothing_else(state: State, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PLANTED", "of-the-user")
    body = process(state, "echo $A; echo [$PLANTED]; echo to-stderr >&2", A="1")
    body.start()
    until(lambda: body.exit_code() == 0)
    until(lambda: len(body.lines()) == 3)
    assert [line.text for line in body.lines()] == ["1", "[]", "to-stderr"]
    assert len({line.at for line in body.lines()}) == 3
    assert [line.text for line in body.lines(since=body.lines()[1].at)] == ["to-stderr"]
    body.end()


def test_its_exit_code_is_told(state: State):
    body = process(state, "exit 7")
    body.start()
    assert until(body.exit_code) == 7
    assert not body.alive()


def test_the_end_is_sigterm_first_and_takes_the_children_too(state: State):
    script = "trap 'echo saved > {workspace}/saved; exit 0' TERM; sleep 1000 & echo $! > {workspace}/child; wait"
    body = process(state, script)
    body.start()
    volume = state.part("volumes", "m1")
    child = int(until(lambda: (volume / "child").exists() and (volume / "child").read_text().strip()))
    body.end(grace=30)
    assert (volume / "saved").exists()
    assert gone(child)
    assert not body.alive()


def test_who_does_not_listen_to_sigterm_is_killed(state: State):
    body = process(state, "trap '' TERM; echo ready; while true; do sleep 0.05; done")
    body.start()
    until(lambda: body.lines())
    body.end(grace=0.2)
    assert body.exit_code() == -signal.SIGKILL


def test_a_body_that_was_ended_before_its_start_never_starts(state: State):
    body = process(state, "touch {workspace}/ran")
    body.end()
    body.start()
    assert not body.alive()
    assert not (state.part("volumes", "m1") / "ran").exists()


def test_the_run_after_a_killed_one_ends_what_it_left_and_spares_strangers(state: State):
    left = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    stranger = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    try:
        for name, pid, born in (("a", left.pid, began(left.pid)), ("b", stranger.pid, 1)):
            note = state.part("processes", name) / "group.json"
            note.write_text(json.dumps({"group": pid, "began": born}))
        state.part("processes", "c").joinpath("group.json").write_text("torn")
        root = state.root
        state.close()
        Processes(State(root), "true").sweep()
        assert left.wait(10) == -signal.SIGKILL
        assert stranger.poll() is None
    finally:
        for each in (left, stranger):
            each.kill()
            each.wait()


def test_process_bodies_need_a_command(state: State):
    with pytest.raises(ValueError, match="command"):
        Processes(state, " ")


def begun(talk: Talk, state: Path) -> tuple[str, int]:
    """A RUNNING pod with a volume, and its process."""
    mounts = {"persistent": {"size": 10, "path": "/workspace"}}
    made = talk.made("/v2/pods", pod(mounts=mounts, env={"STOKER_RUN": "north"}))
    until(lambda: talk.get(f"/v2/pods/{made['id']}")["status"] == "RUNNING")
    note = state / "volumes" / made["id"] / "pid"
    return made["id"], int(until(lambda: note.exists() and note.read_text().strip()))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_the_program_ends_all_it_began_when_it_is_asked_to(tmp_path: Path, how: signal.Signals):
    with program("--bodies", "process", "--command", shell(FOREVER), "--state", str(tmp_path)) as (running, talk):
        _, pid = begun(talk, tmp_path)
        running.send_signal(how)
        assert running.wait(60) == 0
        assert gone(pid)


def test_the_program_that_was_killed_is_cleaned_up_after_by_the_next(tmp_path: Path):
    arguments = ("--bodies", "process", "--command", shell(FOREVER), "--state", str(tmp_path))
    with program(*arguments) as (running, talk):
        _, pid = begun(talk, tmp_path)
        running.kill()
        running.wait()
        assert not gone(pid)
    with program(*arguments) as (_, talk):
        until(lambda: gone(pid))
        assert talk.get("/v2/pods")["pods"] == []


def test_a_pod_s_process_begins_with_it_and_ends_with_it(tmp_path: Path):
    with program("--bodies", "process", "--command", shell(FOREVER), "--state", str(tmp_path)) as (_, talk):
        pod_id, pid = begun(talk, tmp_path)
        os.kill(pid, 0)
        talk.ask("DELETE", f"/v2/pods/{pod_id}")
        until(lambda: gone(pid))
        until(lambda: not (tmp_path / "volumes" / pod_id).exists())


def test_a_process_that_ends_makes_its_pod_exited_and_its_words_are_in_the_log(tmp_path: Path):
    with program("--bodies", "process", "--command", shell("echo the loss is 3.2; exit 3")) as (_, talk):
        made = talk.made("/v2/pods", pod())
        until(lambda: talk.get(f"/v2/pods/{made['id']}")["status"] == "EXITED")
        answer = talk.ask("GET", f"/v2/pods/{made['id']}/logs", stream=True)
        lines = []
        for line in answer.iter_lines(chunk_size=1):
            lines.append(line.decode())
            if "code 3" in lines[-1]:
                break
        assert any("the loss is 3.2" in line for line in lines)


def test_a_pod_may_end_itself_with_its_own_key_and_nothing_else(tmp_path: Path):
    script = """
        import os, urllib.request as r
        base, me, key = (os.environ[n] for n in ("RUNPOD_API_BASE_URL", "RUNPOD_POD_ID", "RUNPOD_API_KEY"))
        def ask(method, path):
            q = r.Request(base + path, method=method, headers={"Authorization": "Bearer " + key})
            try:
                return r.urlopen(q).status
            except r.HTTPError as e:
                return e.code
        print(ask("GET", "/v2/pods"), ask("DELETE", "/v2/pods/other"), ask("GET", "/v2/pods/" + me), flush=True)
        ask("DELETE", "/v2/pods/" + me)
    """
    file = tmp_path / "end_itself.py"
    file.write_text("\n".join(line[8:] for line in script.splitlines()).replace("import os, urllib.request as r",
                    "import os, urllib.error, urllib.request as r\nr.HTTPError = urllib.error.HTTPError"))  # fmt: skip
    with program("--bodies", "process", "--command", f"{sys.executable} {file}") as (_, talk):
        talk.made("/v2/pods", pod())
        row = until(lambda: [row for row in talk.rentals()["rentals"] if not row["alive"]])[0]
        assert row["why"] == "terminated by itself"
        asked = [
            (one["method"], one["status"]) for one in talk.admin("requests")["requests"] if "urllib" in one["agent"]
        ]
        assert asked == [("GET", 403), ("DELETE", 403), ("GET", 200), ("DELETE", 204)]


@pytest.mark.parametrize("arguments", [("--bodies", "process"), ("--speed", "0"), ("--credit", "much")])
def test_a_program_that_cannot_begin_says_why(arguments: tuple[str, ...]):
    done = subprocess.run(
        [sys.executable, "-m", "fleet.simulators", "--runpod", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("the simulators cannot begin: ")
    assert done.stdout == ""


def test_two_runs_cannot_share_one_state_folder(tmp_path: Path):
    with program("--state", str(tmp_path)):
        done = subprocess.run(
            [sys.executable, "-m", "fleet.simulators", "--runpod", "--state", str(tmp_path)],
            cwd=ROOT, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "another simulator uses" in done.stderr
