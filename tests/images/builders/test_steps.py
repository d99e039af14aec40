"""BuildKit's plain progress, as Docker 20.10 and buildx 0.13 print it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from images.builders.steps import Steps, short

OLD = """\
#1 [internal] load build definition from Dockerfile
#1 sha256:826b0e97a07187e94b45a08cb380d7831db218fbc65cd902b3501ce12a21b824
#1 transferring dockerfile: 324B done
#1 DONE 0.0s

#9 [stage-0 1/3] FROM docker.io/library/base:1
#9 sha256:f3bfa148e284659de62a2e3a8eeb78e24f3a08fec69e996040ce9b49c05f2b27
#9 CACHED

#4 [stage-0 2/3] RUN --mount=type=cache,target=/var/cache/apt cat x
#4 sha256:a5c29a1c5d97ee4ff0d1c59b93dcf895f3e47632f5bd0e7513ff5605a030e315
#4 0.217 #4 of a kind
#4 DONE 0.2s

#6 [stage-0 3/3] COPY layers/a/ /
#6 CACHED
"""
NEW_FAILURE = """\
#0 building with "default" instance using docker driver

#2 [internal] load metadata for docker.io/library/base:1
#2 DONE 0.0s

#4 [1/2] FROM docker.io/library/base:1
#4 DONE 0.0s

#5 [2/2] RUN apt-get install nosuch
#5 0.211 Reading package lists...
#5 0.512 E: Unable to locate package nosuch
#5 ERROR: process "/bin/sh -c apt-get install nosuch" did not complete successfully: exit code: 100
------
 > [2/2] RUN apt-get install nosuch:
0.512 E: Unable to locate package nosuch
------
ERROR: failed to solve: process "/bin/sh -c apt-get install nosuch" did not complete successfully: exit code: 100
"""


class Recorder:
    """A Progress that remembers."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.done, self.total = 0, None

    def say(self, text: str) -> None: ...

    def advance(self, count: int) -> None:
        self.done += count

    def note(self, text: str) -> None:
        self.notes.append(text)

    @contextmanager
    def meter(self, label: str, total: int | None = None, unit: str = "bytes") -> Iterator[Recorder]:
        self.total = total
        yield self


def fed(text: str) -> tuple[Steps, Recorder]:
    recorder = Recorder()
    with Steps(recorder) as steps:
        for line in text.splitlines(keepends=True):
            steps.feed(line)
    return steps, recorder


def test_each_numbered_step_counts_once() -> None:
    steps, shown = fed(OLD)
    assert (shown.done, shown.total) == (3, 3)
    assert steps.cached == 1
    assert shown.notes[1] == "[stage-0 2/3] RUN cat x"


def test_a_failure_is_the_step_and_its_last_words() -> None:
    steps, shown = fed(NEW_FAILURE)
    assert "[2/2] RUN apt-get install nosuch" in steps.failure()
    assert "E: Unable to locate package nosuch" in steps.failure()
    assert "exit code: 100" in steps.failure()
    assert "\n" not in steps.failure()
    assert steps.tail() == ["Reading package lists...", "E: Unable to locate package nosuch"]
    assert shown.done == 1


@pytest.mark.parametrize(
    "text",
    [
        "failed to solve with frontend dockerfile.v0: pull access denied, repository does not exist",
        "ERROR: failed to solve: pull access denied, repository does not exist",
        "error during connect: pull access denied, repository does not exist",
    ],
)
def test_without_a_failed_step_the_builder_speaks(text: str) -> None:
    steps, _ = fed("something else\n" + text + "\n")
    assert "pull access denied, repository does not exist" in steps.failure()


def test_silence_is_named() -> None:
    assert fed("")[0].failure() == "the builder said nothing"


def test_a_long_step_is_shortened() -> None:
    assert short("[2/2] RUN --mount=type=cache,id=a,target=/b   x  " + "y" * 200).startswith("[2/2] RUN x yyy")
    assert len(short("z" * 500)) == 80


def test_output_that_looks_like_an_end_does_not_end_a_step() -> None:
    steps, shown = fed("#1 [1/1] RUN x\n#1 0.100 DONE 3.0s\n#1 0.200 ERROR: not really\n#1 DONE 0.3s\n")
    assert shown.done == 1
    assert steps.tail() == []
