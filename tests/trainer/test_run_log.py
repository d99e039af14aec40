"""keep-log: what a run says goes to the terminal and to a file that is put aside at 10 MB."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from tests.trainer.baked import SCRIPTS, alive, until

LIMIT = 10 * 1024 * 1024
AWKS = [name for name in ("mawk", "gawk", "busybox") if shutil.which(name)]


@pytest.fixture(params=AWKS)
def environment(request, environment, tmp_path):
    """One awk after the other is what `awk` means."""
    folder = tmp_path / "awk"
    folder.mkdir()
    (folder / "awk").symlink_to(shutil.which(request.param))
    return {**environment, "PATH": f"{folder}:{environment['PATH']}"}


@pytest.fixture
def log(tmp_path):
    return tmp_path / "a folder's" / "run.log"


@pytest.fixture
def keep(environment, log):
    log.parent.mkdir()

    def start(**options):
        return subprocess.Popen([SCRIPTS / "keep-log", log], env=environment, stdin=subprocess.PIPE, **options)

    return start


def test_every_line_goes_to_both_at_once(keep, log):
    process = keep(stdout=subprocess.PIPE)
    for line in (b"first\n", "zweite: ü \\n %s\n".encode(), b"\xff no text\n"):
        process.stdin.write(line)
        process.stdin.flush()
        assert process.stdout.readline() == line
        until(lambda line=line: log.exists() and log.read_bytes().endswith(line))
    process.stdin.close()
    assert process.wait(10) == 0


def test_at_ten_megabytes_it_is_put_aside_and_five_files_stay(keep, log):
    process = keep(stdout=subprocess.DEVNULL)
    line = b"x" * 1023 + b"\n"
    for number in range(65):
        process.stdin.write(b"%07d" % number + line[7:] + line * 1023)
    process.stdin.close()
    assert process.wait(60) == 0
    files = sorted(path.name for path in log.parent.iterdir())
    assert files == ["run.log", "run.log.1", "run.log.2", "run.log.3", "run.log.4"]
    assert all((log.parent / name).stat().st_size <= LIMIT + 1024 for name in files)
    newest = b"".join((log.parent / name).read_bytes() for name in [*reversed(files[1:]), files[0]])
    assert newest.endswith(line * 1023) and newest.count(b"\n") * 1024 == len(newest), "no line is torn"
    numbers = [int(line[:7]) for line in newest.split(b"\n") if line[:1] == b"0"]
    assert numbers == list(range(numbers[0], 65)), "none of the newest is lost"


def test_it_goes_on_where_the_last_run_stopped(keep, log):
    log.write_bytes(b"y" * (LIMIT - 10) + b"\n")
    process = keep(stdout=subprocess.DEVNULL)
    process.communicate(b"one more line\nand another\n", timeout=30)
    assert (log.parent / "run.log.1").read_bytes().endswith(b"y\none more line\n")
    assert log.read_bytes() == b"and another\n"


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "QUIT"])
def test_no_signal_ends_it_before_its_input_does(keep, log, name):
    import signal

    process = keep(stdout=subprocess.DEVNULL, start_new_session=True)
    process.stdin.write(b"before\n")
    process.stdin.flush()
    until(lambda: log.exists() and log.read_bytes() == b"before\n")
    os.killpg(process.pid, getattr(signal, f"SIG{name}"))
    process.communicate(b"after\n", timeout=30)
    assert log.read_bytes() == b"before\nafter\n" and not alive(process.pid)


def test_a_reader_that_is_gone_does_not_end_it(keep, log):
    process = keep(stdout=subprocess.PIPE)
    process.stdout.close()
    process.communicate(b"one\ntwo\n", timeout=30)
    assert log.read_bytes() == b"one\ntwo\n"


def test_a_file_that_cannot_be_written_does_not_stop_what_is_said(keep, log):
    log.mkdir()
    process = keep(stdout=subprocess.PIPE)
    out, _ = process.communicate(b"line\n" * 200_000, timeout=60)
    assert out == b"line\n" * 200_000
