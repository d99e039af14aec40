"""The Dockerfile of a plan: clean to hadolint, and nothing in a value can become something else."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from images.builders.dockerfile import exec_form, quoted, render, render_foundation
from images.plan import Base, Config, Foundation, ImagePlan, Input, Layer
from profiles.errors import WrongInput

NGC = Base("nvcr.io/nvidia/pytorch:25.06-py3", "sha256:" + "a" * 64, "registry")
HADOLINT = Path(sys.executable).with_name("hadolint")
LINES = st.text(st.characters(exclude_categories=("Cc", "Cs")) | st.sampled_from("\t\"'\\$`#{} "), max_size=40)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True)
LABELS = st.from_regex(r"[a-z]{1,8}(\.[a-z][a-z0-9]{0,8}){1,3}", fullmatch=True)
RESERVED = ("com.docker.", "io.docker.", "org.dockerproject.")


def hadolint(text: str, folder: Path) -> None:
    """Fails on the slightest remark, style included."""
    (folder / "Dockerfile").write_text(text, encoding="utf-8")
    done = subprocess.run([HADOLINT, "--no-color", folder / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr + "\n" + text


def instructions(text: str) -> list[str]:
    """The Dockerfile's instructions, continuation lines joined, comments left out."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return re.sub(r"\\\n\s*", "", "\n".join(lines)).split("\n")


def read_back(words: str) -> str:
    """What the Dockerfile reference's rules make of one quoted word (moby/buildkit shell/lex.go): in double quotes a
    backslash escapes `"`, `$` and itself; outside quotes it escapes any character."""
    out, at, inside = "", 0, False
    while at < len(words):
        char, after = words[at], words[at + 1 : at + 2]
        if char == '"':
            inside = not inside
        elif char == "\\" and (not inside or after in ('"', "$", "\\")):
            out, at = out + after, at + 1
        else:
            assert char != "$", "would expand"
            assert inside or char != " ", "would end the word"
            out += char
        at += 1
    assert not inside
    return out


def test_a_whole_plan_is_clean(plan: ImagePlan, tmp_path: Path) -> None:
    hadolint(render(replace(plan, base=NGC)), tmp_path)


@pytest.mark.parametrize("user", ["", "0", "root", "1000:1000", "trainer"])
def test_every_kind_of_user_is_clean(variant: Callable[..., ImagePlan], user: str, tmp_path: Path) -> None:
    hadolint(render(variant(user=user), base="stoker-base:abc", link=True), tmp_path)


def test_a_foundation_is_clean(plan: ImagePlan, tmp_path: Path) -> None:
    wish = Foundation(("openssh-server", "libfoo=1.2-3+b1", "g++:amd64"))
    hadolint(render(replace(plan, base=NGC, foundation=wish)), tmp_path)
    hadolint(render_foundation(NGC, wish), tmp_path)


def test_a_bare_plan_is_clean(plan: ImagePlan, tmp_path: Path) -> None:
    hadolint(render(replace(plan, base=NGC, layers=(), config=Config())), tmp_path)


@settings(max_examples=25, deadline=None)
@given(
    env=st.dictionaries(NAMES, LINES, max_size=8),
    labels=st.dictionaries(LABELS.filter(lambda name: not name.startswith(RESERVED)), LINES, max_size=8),
    words=st.lists(LINES, max_size=5),
)
def test_any_env_and_labels_are_clean(
    env: dict[str, str], labels: dict[str, str], words: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = Config(env=tuple(env.items()), labels=tuple(labels.items()), entrypoint=tuple(words))
    plan = ImagePlan("p", "1", "c" * 40, False, "2026-01-02T03:04:05Z", "linux/amd64", NGC, (Layer("a"),), config)
    hadolint(render(plan), tmp_path_factory.mktemp("lint"))


@given(LINES)
def test_a_quoted_value_reads_back_as_itself(value: str) -> None:
    assert read_back(quoted(value)) == value
    assert not quoted(value).endswith("\\"), "the line would go on"


@given(st.lists(LINES))
def test_an_exec_form_is_json(words: list[str]) -> None:
    assert json.loads(exec_form(words)) == words
    assert "\n" not in exec_form(words)


@pytest.mark.parametrize("value", ["a\nRUN id", "a\r", "a\0b", "\x1b[0m", "\x85"])
def test_a_value_that_could_end_the_line_is_refused(variant: Callable[..., ImagePlan], value: str) -> None:
    for config in ({"env": (("A", value),)}, {"labels": (("a", value),)}, {"cmd": (value,)}, {"workdir": value}):
        with pytest.raises(WrongInput, match="control character"):
            render(variant(**config), base="b")


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(WrongInput):
        quoted("\ud800")


@pytest.mark.parametrize(
    "config",
    [
        {"env": (("A B", "x"),)},
        {"env": (("A=B", "x"),)},
        {"labels": (("a b", "x"),)},
        {"user": "a b"},
        {"user": "root\nRUN id"},
        {"ports": ("22 23",)},
        {"stop_signal": "SIGTERM\nRUN id"},
    ],
)
def test_names_that_are_not_names_are_refused(variant: Callable[..., ImagePlan], config: dict[str, object]) -> None:
    with pytest.raises(WrongInput, match="cannot stand in a Dockerfile"):
        render(variant(**config), base="b")


@pytest.mark.parametrize("target", ["etc/$HOME", "etc/a b", "etc/*", "etc/a\\b"])
def test_a_path_outside_of_our_folder_must_be_plain(plan: ImagePlan, target: str) -> None:
    with pytest.raises(WrongInput, match="path outside"):
        render(replace(plan, layers=(Layer("a", (Input("x", target, "0" * 64, 0),)),)), base="b")


@pytest.mark.parametrize("package", ["a; rm -rf /", "-o=x", "A", "a b", "a\nb", "$(id)"])
def test_a_package_name_is_never_shell(package: str) -> None:
    with pytest.raises(WrongInput, match="package"):
        render_foundation(NGC, Foundation((package,)))


def test_the_base_is_pinned_by_its_digest(plan: ImagePlan) -> None:
    assert f"FROM {NGC.name}@{NGC.digest}" in instructions(render(replace(plan, base=NGC)))


def test_a_bootstrapped_base_needs_the_engines_name(plan: ImagePlan) -> None:
    with pytest.raises(WrongInput, match="bootstrapped"):
        render(plan)
    assert "FROM stoker-base:1" in instructions(render(plan, base="stoker-base:1"))


def test_layers_come_in_order_before_what_changes_with_every_plan(plan: ImagePlan) -> None:
    words = [line.split()[0] for line in instructions(render(plan, base="b"))]
    assert words.index("COPY") < words.index("ENV") < words.index("WORKDIR") < words.index("ENTRYPOINT")
    copies = [line for line in instructions(render(plan, base="b")) if line.startswith("COPY")]
    assert copies == [
        "COPY layers/wheels/opt/stoker/ /opt/stoker/",
        "COPY layers/wheels/usr/local/lib/python3.12/dist-packages/stoker.pth "
        "/usr/local/lib/python3.12/dist-packages/stoker.pth",
        "COPY layers/trainer/opt/stoker/ /opt/stoker/",
        "COPY layers/trainer/etc/base-release /etc/base-release",
    ]


def test_link_and_syntax_only_where_they_are_known(plan: ImagePlan) -> None:
    assert "--link" not in render(plan, base="b")
    assert "COPY --link layers/wheels/opt/stoker/ /opt/stoker/" in render(plan, base="b", link=True)
    assert "--link layers/wheels/usr" not in render(plan, base="b", link=True), "it would change the base's folders"
    assert not re.search(r"^# *(syntax|escape|check) *=", render(plan, base="b", link=True), re.MULTILINE)


def test_the_package_step_does_not_change_with_the_commit(plan: ImagePlan) -> None:
    def step(one: ImagePlan) -> list[str]:
        return [line for line in instructions(render(one)) if line.startswith(("RUN", "FROM"))]

    wish = Foundation(("tmux", "curl"))
    first = replace(plan, base=NGC, foundation=wish)
    later = replace(first, commit="e" * 40, created="2027-01-01T00:00:00Z", layers=())
    alone = [line for line in instructions(render_foundation(NGC, wish)) if line.startswith(("RUN", "FROM"))]
    assert step(first) == step(later) == alone
    assert len(alone) == 2


def test_private_host_keys_and_logs_do_not_stay(plan: ImagePlan) -> None:
    (step,) = [line for line in instructions(render_foundation(NGC, Foundation(("a1",)))) if line.startswith("RUN")]
    for gone in ("/etc/ssh/ssh_host_*_key", "/etc/machine-id", "/var/log/apt", "/var/log/dpkg.log"):
        assert gone in step
    assert "--mount=type=secret,id=apt-auth,target=/var/cache/apt/" in step, "the stub must lie in the cache"
