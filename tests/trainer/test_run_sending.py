"""A last checkpoint that its remote does not take: `run` goes on sending, and does not call that well ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trainer.baked import Image, checkpoint, stop, until
from tests.trainer.machine_end import START, Provider, serving
from trainer.checkpoint.manifest import FORMAT, sealed

REMOTE = "s3://user:hush@bucket/run"
slow = pytest.mark.slow


@pytest.fixture
def image(tmp_path, environment) -> Image:
    return Image(tmp_path / "image", environment)


@pytest.fixture
def clock() -> Iterator[Provider]:
    with serving() as found:
        yield found


def rehearsed(clock: Provider, **variables: str) -> dict[str, str]:
    """Time passes when the test says so. It is a keeper's child, as where STOKER_DEADLINE is set."""
    own = {"STOKER_CLOCK": clock.url, "STOKER_RESTARTS": "0", "STOKER_REMOTE": REMOTE, "stoker_kept": "/dev/null"}
    return {**own, **variables}


def trained(image: Image, *sends: str, code: int = 0) -> None:
    """Nothing at the remote, a training that saves step 2, and then these answers of the sending."""
    image.attempts("exit 0", f"{checkpoint(image.run_folder, 2)}; exit {code}", *sends)


def sends(image: Image) -> int:
    return sum(line.startswith("sync ") for line in image.told())


@pytest.mark.parametrize("answer", [3, *(pytest.param(code, marks=slow) for code in (2, 4, 75))])
def test_it_sends_until_it_is_there_with_a_line_each_time(image, answer):
    trained(image, *[f"exit {answer}"] * 2, "exit 0")
    done = image.run("run", STOKER_BACKOFF="0", STOKER_REMOTE=REMOTE)
    assert done.returncode == 0 and sends(image) == 3
    lines = [line for line in done.stdout.splitlines() if "is not at" in line]
    told = f"run: step 2 is not at s3://***@bucket/run (exit code {answer})"
    assert lines == [f"{told}; try 2 in 0 s", f"{told}; try 3 in 0 s"]


def test_it_tries_every_five_minutes_while_the_deadline_is_some_way_off_and_then_answers_3(image, clock):
    deadline = int(START) + 800  # less 25 s of grace and two minutes for a last try: 655 s
    trained(image, *["exit 3"] * 9)
    process = image.start("run", **rehearsed(clock, STOKER_DEADLINE=str(deadline)))
    for count, pause in enumerate((300, 300, 55), start=1):
        until(lambda n=count, p=pause: f"try {n + 1} in {p} s" in image.log(), process)
        clock.now += pause - 1
        assert sends(image) == count
        clock.now += 1
    out, errors = process.communicate(timeout=180)
    assert process.returncode == 3 and sends(image) == 4, out + errors
    assert "after 4 tries: no more of them" in out + errors


@slow
@pytest.mark.parametrize("code", [0, 75, 1])
def test_without_a_deadline_an_hour_is_enough_and_the_next_step_is_told(image, clock, code):
    trained(image, "exit 3", "exit 3", code=code)
    process = image.start("run", **rehearsed(clock))
    until(lambda: "try 2 in 300 s" in image.log(), process)
    clock.now += 3601
    out, errors = process.communicate(timeout=180)
    assert process.returncode == 3 and sends(image) == 2, "whatever the training answered"
    assert f"send it: python3 -m trainer sync {image.run_folder} --to s3://***@bucket/run" in out + errors
    assert "hush" not in out + errors + image.log()


def test_asked_to_stop_between_two_tries_it_sends_once_more_and_ends_with_75(image, clock):
    trained(image, *["exit 3"] * 9)
    process = image.start("run", **rehearsed(clock))
    until(lambda: "try 2 in 300 s" in image.log(), process)
    code, said = stop(process)
    assert code == 75 and sends(image) == 2 and "sent by the next run" in said + image.log()


@slow
def test_a_checkpoint_that_is_damaged_here_is_not_sent_again_and_again(image):
    trained(image, "exit 1")
    assert image.run("run", STOKER_BACKOFF="0", STOKER_REMOTE=REMOTE).returncode == 1 and sends(image) == 1


@slow
@pytest.mark.parametrize(("code", "count"), [(2, 1), (4, 0)])
def test_after_a_wrong_input_it_is_sent_and_beside_another_run_it_is_not(image, code, count):
    trained(image, code=code)
    assert image.run("run", STOKER_BACKOFF="0", STOKER_REMOTE=REMOTE).returncode == code and sends(image) == count


@slow
def test_what_is_here_is_sent_when_it_could_not_be_gone_on_from(image):
    image.attempts("exit 0", f"{checkpoint(image.run_folder, 2)}; exit 2", "exit 0")
    known = {"STOKER_BACKOFF": "0", "STOKER_RESTARTS": "0", "STOKER_REMOTE": REMOTE}
    image.run("run", **known)
    image.attempts("exit 3", "exit 0")  # what looks damaged is looked for at the remote, in vain
    assert image.run("run", **known).returncode == 3
    assert [line.split()[0] for line in image.told()] == ["pull", "sync"]


@slow
@pytest.mark.parametrize("kept", [True, False])
def test_before_it_has_trained_it_sends_where_a_keeper_would_wait_for_it(image, tmp_path, kept):
    place = tmp_path / "kept"
    place.write_text(f"{image.run_folder}\n{REMOTE}\n")
    image.attempts(f"{checkpoint(image.run_folder, 2)}; exit 75")
    assert image.run("run").returncode == 75 and image.steps_here() == [2]
    image.attempts("exit 0")
    known = {"stoker_kept": str(place)} if kept else {}
    assert image.run("run", "--no-such-flag", STOKER_REMOTE=REMOTE, **known).returncode == 2
    assert sends(image) == (1 if kept else 0)
    if kept:
        assert kept_words(image, place) == [str(image.run_folder), REMOTE, "step-00000002"]


def kept_words(image: Image, place: Path) -> list[str]:
    return [line.removeprefix(f"{image.run_folder}/checkpoints/") for line in place.read_text().splitlines()]


def test_the_keeper_is_told_what_is_at_the_remote_and_nothing_else(image, tmp_path):
    place = tmp_path / "kept"
    image.attempts(checkpoint(image.run_folder, 2), checkpoint(image.run_folder, 4), "exit 0")
    known = {"STOKER_BACKOFF": "0", "STOKER_REMOTE": REMOTE, "stoker_kept": str(place)}
    assert image.run("run", **known).returncode == 0
    assert kept_words(image, place) == [str(image.run_folder), REMOTE, "step-00000002", "step-00000004"]


@slow
@pytest.mark.parametrize("damaged", [True, False])
def test_the_keeper_does_not_wait_for_what_is_damaged_here(image, tmp_path, damaged):
    """The store may also have another one of that step: a whole one is not given up."""
    place, folder = tmp_path / "kept", image.run_folder / "checkpoints" / "step-00000006"
    trains = f"mkdir -p '{folder}' && cp '{tmp_path}/manifest' '{folder}/manifest.json'"
    (tmp_path / "manifest").write_bytes(b"{}" if damaged else sealed({"format": FORMAT, "step": 6, "files": {}}))
    image.attempts("exit 0", trains, "exit 1")
    done = image.run("run", STOKER_REMOTE=REMOTE, stoker_kept=str(place))
    assert done.returncode == 1 and sends(image) == 1
    assert kept_words(image, place)[2:] == (["step-00000006"] if damaged else [])
    assert ("step 6 is damaged here" in done.stdout) == damaged
