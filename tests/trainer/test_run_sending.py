"""A last checkpoint that its remote does not take: `run` goes on sending, and does not call that well ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trainer.baked import Image, checkpoint, stop, until
from tests.trainer.machine_end import START, Provider, serving

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
@pytest.mark.parametrize("code", [2, 4])
def test_after_a_wrong_input_or_beside_another_run_nothing_is_sent(image, code):
    trained(image, code=code)
    assert image.run("run", STOKER_BACKOFF="0", STOKER_REMOTE=REMOTE).returncode == code and sends(image) == 0


def kept_words(image: Image, place: Path) -> list[str]:
    return [line.removeprefix(f"{image.run_folder}/checkpoints/") for line in place.read_text().splitlines()]


def test_the_keeper_is_told_what_is_at_the_remote_and_nothing_else(image, tmp_path):
    place = tmp_path / "kept"
    image.attempts(checkpoint(image.run_folder, 2), checkpoint(image.run_folder, 4), "exit 0")
    known = {"STOKER_BACKOFF": "0", "STOKER_REMOTE": REMOTE, "stoker_kept": str(place)}
    assert image.run("run", **known).returncode == 0
    assert kept_words(image, place) == [str(image.run_folder), REMOTE, "step-00000002", "step-00000004"]
    image.attempts("exit 0", checkpoint(image.run_folder, 6), "exit 1")
    image.run("run", **known)
    assert kept_words(image, place) == [str(image.run_folder), REMOTE], (
        "neither what looks damaged, nor what was not sent"
    )
