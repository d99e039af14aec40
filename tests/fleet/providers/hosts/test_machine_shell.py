"""The shell on a rented machine: a real sshd, real `ssh`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from fleet.providers.hosts import pins
from fleet.providers.hosts.ssh import Lost, NotLetIn, shell
from fleet.providers.values import Ssh
from profiles.errors import CheckFailed, Refused, WrongInput
from tests.conftest import free_port
from tests.fleet.providers.hosts.rented_machine import Machine, make_key
from tests.sim.cut_line import CutLine


def test_a_script_gets_its_arguments_and_its_input_and_tells_how_it_ended(machine: Machine, tmp_path: Path):
    said = machine.shell(tmp_path).run(
        'printf "%s|%s|" "$1" "$2"; cat; echo oops >&2; exit 7', "two words", "it's $(date)", given=b"the input"
    )
    assert (said.code, said.out, said.err.strip()) == (7, "two words|it's $(date)|the input", "oops")


def test_255_of_a_script_is_no_lost_connection(machine: Machine, tmp_path: Path):
    assert machine.shell(tmp_path).run("exit 255").code == 255


def test_nobody_there_is_lost_and_says_where(tmp_path: Path, machine: Machine):
    with pytest.raises(Lost, match=r"no line to .*refused"):
        machine.shell(tmp_path, free_port()).run("true")


def test_a_key_that_is_not_taken_says_how_to_give_one(machine: Machine, tmp_path: Path):
    make_key(tmp_path / "other")
    (machine.folder / "authorized").write_text((tmp_path / "other.pub").read_text())
    with pytest.raises(NotLetIn) as refused:
        machine.shell(tmp_path).run("true")
    assert "web settings" in refused.value.next_step


def test_the_host_key_is_pinned_at_first_use_and_another_one_is_refused(machine: Machine, tmp_path: Path):
    at = machine.shell(tmp_path)
    at.run("true")
    pinned = at.pinned.read_text()
    assert pinned.startswith("test-1 ssh-ed25519 ")
    machine.change_host_key()
    with pytest.raises(Refused, match="another host key") as refused:
        at.run(f": >{tmp_path}/was-run")
    assert not (tmp_path / "was-run").exists()
    assert at.pinned.read_text() == pinned and str(at.pinned) in refused.value.next_step


def test_a_host_key_of_another_type_is_no_new_one(machine: Machine, tmp_path: Path):
    at = machine.shell(tmp_path)
    at.run("true")
    for name in ("host", "host.pub"):
        (machine.folder / name).unlink()
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", machine.folder / "host"], check=True)
    with pytest.raises(Refused, match="another host key"):
        at.run("true")


def test_each_rental_has_a_pin_of_its_own(machine: Machine, tmp_path: Path):
    key = {pins.KEY: str(machine.folder / "key")}
    at = Ssh("127.0.0.1", machine.port, machine.user)
    shell(at, pins.pin(tmp_path, "hyperbolic", "1"), key).run("true")
    machine.change_host_key()
    assert shell(at, pins.pin(tmp_path, "hyperbolic", "2"), key).run("true").code == 0
    pins.forget(pins.pin(tmp_path, "hyperbolic", "2"))
    assert sorted(path.name for path in (tmp_path / pins.FOLDER).iterdir()) == ["hyperbolic-1"]
    with pytest.raises(WrongInput):
        pins.pin(tmp_path, "hyperbolic", "../1")


def test_a_script_that_arrives_cut_is_not_run(machine: Machine, tmp_path: Path):
    machine.shell(tmp_path).run("true")  # so that what follows differs in the script only
    script = f": >{tmp_path}/was-run\n" + "# a comment that fills the line to the machine\n" * 4000
    with CutLine(machine.port) as line:
        line.cut_after = 60_000
        with pytest.raises(Lost):
            machine.shell(tmp_path, line.port).run(script)
        assert line.cut_after is None
    assert not (tmp_path / "was-run").exists()


def test_without_root_the_script_runs_through_sudo(machine: Machine, tmp_path: Path):
    machine.has("id", "#!/bin/sh\necho 1000\n")
    machine.has("sudo", f'#!/bin/sh\nshift\n: >{tmp_path}/asked\nexec "$@"\n')
    assert machine.shell(tmp_path).run("cat", given=b"secret").out == "secret"
    assert (tmp_path / "asked").exists()


@pytest.mark.parametrize("words", ["sudo: a password is required", None])
def test_a_user_who_may_not_become_root_rules_the_machine_out(machine: Machine, tmp_path: Path, words: str | None):
    machine.has("id", "#!/bin/sh\necho 1000\n")
    if words:
        machine.has("sudo", f"#!/bin/sh\necho '{words}' >&2\nexit 1\n")
    with pytest.raises(CheckFailed, match="may not become root"):
        machine.shell(tmp_path).run("true")


def test_lines_come_as_they_are_and_without_the_mark(machine: Machine, tmp_path: Path):
    lines = machine.shell(tmp_path).lines("echo a; echo; echo b; printf c")
    assert list(lines) == ["a", "", "b", "c"]


def test_neither_the_providers_key_nor_the_users_ssh_settings_reach_the_machine(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HYPERBOLIC_API_KEY", "planted")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/config").write_text("Host *\n  SendEnv *\n  Port 1\n")
    assert "planted" not in machine.shell(tmp_path).run("env").out
    process, _, _ = machine.shell(tmp_path)._started("sleep 20", ())
    try:
        assert b"planted" not in Path(f"/proc/{process.pid}/environ").read_bytes()
    finally:
        process.kill()
        process.communicate()


def test_a_key_that_is_no_file_is_said(tmp_path: Path):
    with pytest.raises(WrongInput, match="no private key at /nowhere"):
        shell(Ssh("127.0.0.1"), tmp_path / "pin", {"STOKER_SSH_KEY": "/nowhere"})


def test_the_users_own_session_uses_the_same_pin(machine: Machine, tmp_path: Path):
    at = machine.shell(tmp_path)
    done = subprocess.run(at.command("echo", "hello"), capture_output=True, text=True, check=True, env=dict(os.environ))
    assert done.stdout == "hello\n" and at.pinned.stat().st_size > 0


def test_the_machine_of_these_tests_leaves_the_real_programs_alone(machine: Machine):
    real = Path((machine.bin / "id").readlink())
    before = real.read_bytes()
    machine.has("id", "#!/bin/sh\necho 1000\n")
    assert real.read_bytes() == before and not (machine.bin / "id").is_symlink()
