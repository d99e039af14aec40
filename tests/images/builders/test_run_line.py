"""The line a person copies after `build --load`."""

from __future__ import annotations

import shlex

from images.builders.run_line import run_line
from profiles.load import load


def test_a_gpu_profile_gets_what_ngc_asks_for():
    words = shlex.split(run_line(load("h100-fp8"), "stoker:tag"))
    for word in ("--ipc=host", "--ulimit=memlock=-1", "--ulimit=stack=67108864"):
        assert word in words
    assert words[words.index("--gpus") + 1] == "all"
    assert words[-1] == "stoker:tag"
    assert "$PWD/runs:/workspace" in words


def test_ports_are_offered_to_this_machine_only():
    line = run_line(load("h100-fp8"), "x")
    assert "-p 127.0.0.1:8888:8888/tcp" in line


def test_the_cpu_profile_asks_for_no_gpu():
    assert "--gpus" not in run_line(load("cpu"), "x")
