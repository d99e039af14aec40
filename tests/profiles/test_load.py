"""What is wrong in a profile is said with file, line and column, and with what was likely meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from profiles.errors import WrongInput
from profiles.load import load, names, parse

HEAD = "extends: h100-fp8\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(folder: Path, text: str | bytes, name: str = "mine") -> tuple[str, str]:
    """What loading the text says: (what is wrong, what to do next)."""
    (folder / f"{name}.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(WrongInput) as caught:
        load(name, folder=folder)
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.what + caught.value.next_step
    assert caught.value.next_step
    return caught.value.what, caught.value.next_step


def test_unknown_profile_names_the_nearest() -> None:
    with pytest.raises(WrongInput) as caught:
        load("h100-fp9")
    assert (caught.value.what, caught.value.next_step) == ("unknown profile `h100-fp9`", "did you mean `h100-fp8`?")


def test_unknown_profile_like_none_lists_all() -> None:
    with pytest.raises(WrongInput) as caught:
        load("zzzzzzzz")
    assert "cpu" in caught.value.next_step and "b200-nvfp4" in caught.value.next_step


def test_missing_file(folder: Path) -> None:
    with pytest.raises(WrongInput, match=r"no profile file \./none\.yaml"):
        load("./none.yaml")


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        ("a: [1, 2\nb: 3\n", "mine.yaml:2:2:", "did not find"),
        ("a: 'open\n", "mine.yaml:2:1:", "end of stream"),
        ("gpu:\n  type: h100-sxm\n count: 8\n", "mine.yaml:3:2:", ""),
        ("\tgpu: 1\n", "mine.yaml:1:1:", ""),
        ("", "mine.yaml:1:1:", "the file is empty"),
        ("# nothing\n", "mine.yaml:1:1:", "the file is empty"),
        ("- a\n- b\n", "mine.yaml:1:1:", "a profile is a mapping"),
        ("a: *nowhere\n", "mine.yaml:1:4:", "undefined alias"),
        ("a: 1\n---\nb: 2\n", "mine.yaml:2:1:", "another document"),
        ("a: &x [*x]\n", "mine.yaml:1:4:", "the anchor contains itself"),
        ("precision: bf16\nipc: host\nprecision: fp16\n", "mine.yaml:3:1:", "second time (first in line 1)"),
        ("env: {A: '1', A: '2'}\n", "mine.yaml:1:15:", "second time"),
        ("env:\n  on: '1'\n", "mine.yaml:2:3:", "is not text"),
        ("a: !!python/object:os.system {}\n", "mine.yaml:1:4:", "could not determine a constructor"),
    ],
)
def test_yaml_errors_have_file_line_and_column(folder: Path, text: str, where: str, said: str) -> None:
    what, _ = refusal(folder, text)
    assert what.startswith(where)
    assert said in what


def test_bytes_that_are_no_text(folder: Path) -> None:
    assert refusal(folder, b"description: \xff\n")[0] == "mine.yaml: byte 13 is not UTF-8"
    assert refusal(folder, b"description: a\x00b\n")[0].startswith("mine.yaml")


def test_aliases_that_multiply_without_end(folder: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "more than 20000 values" in refusal(folder, "\n".join(lines))[0]


@pytest.mark.parametrize(
    ("text", "what", "step"),
    [
        ("precison: bf16\n", "mine.yaml:2:1: unknown key `precison`", "did you mean `precision`?"),
        ("gpu:\n  typ: b200\n", "mine.yaml:3:3: unknown key `gpu.typ`", "did you mean `type`?"),
        ("providers:\n  runpd: {}\n", "mine.yaml:3:3: unknown key `providers.runpd`", "did you mean `runpod`?"),
        ("ulimits: {qqqq: 1}\n", "mine.yaml:2:11: unknown key `ulimits.qqqq`", "known here: memlock, stack"),
        ("name: x\n", "mine.yaml:2:1: unknown key `name`", "rename the file"),
        ("precision: fp8\n", "mine.yaml:2:1: `precision` is 'fp8', but must be", "did you mean `fp8-current`?"),
        ("gpu: {type: h100-sx}\n", "mine.yaml:2:7: `gpu.type`: unknown GPU `h100-sx`: did you mean `h100-sxm`?", ""),
        ("gpu: {count: 0}\n", "mine.yaml:2:7: `gpu.count` is 0: input should be greater", ""),
        ("gpu: {count: many}\n", "mine.yaml:2:7: `gpu.count` is 'many': input should be a valid integer", ""),
        ("parallelism: {zero: 4}\n", "mine.yaml:2:15: `parallelism.zero` is 4, but must be 0, 1, 2 or 3", ""),
        ("parallelism: {zero: 1, offload: both}\n", "mine.yaml:2:1: `parallelism`: offload `both` needs zero: 3", ""),
        ("env:\n  9A: x\n", "mine.yaml:3:3: `env.9A`: `9A` is no environment name", ""),
        ("env:\n  A: yes\n", "mine.yaml:3:3: `env.A`: an environment value is text: put it in quotes", ""),
        ('env:\n  A: "a\\nb"\n', "mine.yaml:3:3: `env.A`: an environment value has no line breaks", ""),
        ("env:\n  LD_LIBRARY_PATH: /x\n", "mine.yaml:3:3: `env.LD_LIBRARY_PATH`: `LD_LIBRARY_PATH` belongs to", ""),
        ("ports:\n  - 22/tcp\n  - '8888'\n", "mine.yaml:4:5: `ports.1` is '8888', which has the wrong form", "22/tcp"),
        ("ports: [70000/tcp]\n", "mine.yaml:2:9: `ports.0`: `70000/tcp`: a port is between 1 and 65535", ""),
        ("ports: [22/tcp, 22/tcp]\n", "mine.yaml:1:1: `profile`: port 22/tcp is listed twice", ""),
        ("volume: workspace\n", "mine.yaml:2:1: `volume`: `workspace` is not absolute", ""),
        ("volume: /opt\n", "mine.yaml:2:1: `volume`: `/opt` would hide /opt/stoker", ""),
        ("volume: /opt/stoker/app\n", "mine.yaml:2:1: `volume`: `/opt/stoker/app` would hide /opt/stoker", ""),
        ("volume: /\n", "mine.yaml:2:1: `volume`: `/` would hide /opt/stoker", ""),
        ("volume: /opt/../opt/stoker\n", "mine.yaml:2:1: `volume`: `/opt/../opt/stoker`: write it as", ""),
        ("volume: /usr/lib\n", "mine.yaml:2:1: `volume`: `/usr/lib` would hide a part of the system", ""),
        (
            "python:\n  requirements: [tiktoken, 'a b c']\n",
            "mine.yaml:3:28: `python.requirements.1`: `a b c` is no",
            "",
        ),
        (
            "python:\n  requirements: ['x~=1']\n",
            "mine.yaml:3:18: `python.requirements.0`: `x~=1` is no requirement",
            "",
        ),
        ("python: {indexes: ['https://u:p@h/x']}\n", "mine.yaml:2:20: `python.indexes.0`", "download.pytorch.org"),
        ("base: {image: ubuntu}\n", "mine.yaml:2:8: `base.image`: `ubuntu` is no image reference", ""),
        (
            "base: {image: nvcr.io/nvidia/pytorch}\n",
            "mine.yaml:2:8: `base.image`: `nvcr.io/nvidia/pytorch` has nei",
            "",
        ),
        ("base: {debian: bookworm}\n", "mine.yaml:2:1: `base`: a base is either `image:` or `debian:`", ""),
        ("base: {packages: [git]}\n", "mine.yaml:2:1: `base`: `packages` here belong to a `debian:` base", ""),
        ("trainer: {lr: .nan}\n", "mine.yaml:2:11: `trainer.lr`", ""),
        ("trainer: {day: 2026-01-01}\n", "mine.yaml:2:11: `trainer.day`", ""),
        ("platforms: []\n", "mine.yaml:2:1: `platforms` is []", "linux/amd64"),
        ("user: 'root; rm'\n", "mine.yaml:2:1: `user` is 'root; rm', which has the wrong form", ""),
    ],
)
def test_wrong_keys_and_values_stand_where_they_are(folder: Path, text: str, what: str, step: str) -> None:
    said = refusal(folder, HEAD + text)
    assert said[0].startswith(what)
    assert step in said[1]


def test_the_first_of_several_errors_is_told_with_their_number(folder: Path) -> None:
    what, _ = refusal(folder, HEAD + "ipc: hots\nprecison: bf16\n")
    assert what.startswith("mine.yaml:2:1: `ipc`") and what.endswith("(and 1 more)")


def test_an_error_is_reported_in_the_file_that_wrote_it(folder: Path) -> None:
    (folder / "parent.yaml").write_text("extends: cpu\n\nipc: hots\n")
    assert refusal(folder, "extends: parent\n")[0].startswith("parent.yaml:3:1: `ipc`")


def test_what_is_missing_is_named(folder: Path) -> None:
    what, step = refusal(folder, "description: x\n")
    assert what == "mine.yaml:1:1: `base` is missing"
    assert "base:" in step


def test_extends_merges_mappings_and_replaces_lists(folder: Path) -> None:
    (folder / "mine.yaml").write_text(HEAD + "gpu: {count: 4}\nports: [22/tcp]\nenv: {A: 1}\n")
    profile, parent = load("mine", folder=folder), load("h100-fp8")
    assert profile.gpu is not None and (profile.gpu.type, profile.gpu.count) == ("h100-sxm", 4)
    assert profile.ports == ("22/tcp",)
    assert profile.env == {**parent.env, "A": "1"}
    assert profile.name == "mine"


def test_null_clears_what_a_parent_says(folder: Path) -> None:
    (folder / "mine.yaml").write_text("extends: cpu\nvolume: null\n")
    assert load("mine", folder=folder).volume is None


def test_extends_by_path_and_from_a_path(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "parent.yaml").write_text("extends: cpu\ndescription: from the parent\n")
    (folder / "sub" / "child.yml").write_text("extends: ../parent.yaml\n")
    assert load("sub/child.yml").description == "from the parent"


def test_extends_in_a_circle(folder: Path) -> None:
    (folder / "a.yaml").write_text("extends: mine\n")
    what, _ = refusal(folder, "extends: a\n")
    assert what == "a.yaml:1:1: `extends` goes in a circle: mine.yaml -> a.yaml -> mine.yaml"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("extends: gpuu\n", "mine.yaml:1:1: unknown profile `gpuu` to extend"),
        ("extends: [cpu]\n", "mine.yaml:1:1: `extends` is one profile's name or path"),
        ("extends: ./no.yaml\n", "mine.yaml:1:1: no file no.yaml to extend"),
    ],
)
def test_extends_nothing(folder: Path, text: str, what: str) -> None:
    assert refusal(folder, text)[0] == what


def test_abstract_profiles_are_for_extending_only(folder: Path) -> None:
    (folder / "shared").mkdir()
    (folder / "shared" / "common.yaml").write_text("abstract: true\nextends: cpu\n")
    (folder / "half.yaml").write_text("abstract: true\nextends: common\n")
    (folder / "whole.yaml").write_text("extends: half\n")
    assert names(folder) == ["whole"]
    assert load("whole", folder=folder).precision == "fp32"
    with pytest.raises(WrongInput, match="only there to be extended"):
        load("half", folder=folder)


def test_extending_oneself_means_the_shipped_one(folder: Path) -> None:
    """A user's own cpu.yaml may build on the shipped cpu by its path, not by its name: that is a circle."""
    assert "goes in a circle" in refusal(folder, "extends: cpu\n", name="cpu")[0]


def test_base_tag_takes_the_tags_place_and_nothing_else() -> None:
    here, there = load("h100-fp8"), load("h100-fp8", base_tag="25.09-py3")
    assert there.base.name == "nvcr.io/nvidia/pytorch:25.09-py3"
    assert there.model_copy(update={"base": here.base}) == here


@pytest.mark.parametrize(
    ("name", "tag", "what", "step"),
    [
        ("cpu", "25.06-py3", "which has no tags", "leave --base-tag out"),
        ("h100-fp8", "../x", "is no tag", "25.06-py3"),
        ("h100-fp8", "25.06", "NVIDIA's tags end in -py3", "write 25.06-py3"),
        ("h100-fp8", "25.07-py3", "there is no such month", "choose 25.06-py3 or 25.08-py3"),
    ],
)
def test_impossible_base_tags(name: str, tag: str, what: str, step: str) -> None:
    with pytest.raises(WrongInput) as caught:
        load(name, base_tag=tag)
    assert what in caught.value.what
    assert step in caught.value.next_step


def test_requirements_in_all_forms_of_pep_508_are_taken(folder: Path) -> None:
    wanted = ["a", "A.b_c>=1.2", "x[y,z]~=1.4; python_version < '3.13'", "w @ https://example.org/w-1-py3-none-any.whl"]
    (folder / "mine.yaml").write_text(f"extends: cpu\npython: {{requirements: {wanted}}}\n")
    assert parse("mine", folder=folder).python.requirements == tuple(wanted)


def test_a_file_nested_too_deep_is_refused(folder: Path) -> None:
    what, _ = refusal(folder, HEAD + "env: " + "[" * 3000 + "]" * 3000 + "\n")
    assert what.startswith("mine.yaml:2:") and what.endswith(": nested too deep")


def test_a_file_whose_name_cannot_be_a_tag_says_how_to_call_it(folder: Path) -> None:
    what, next_step = refusal(folder, HEAD, name="my größe 8")
    assert "`my größe 8` cannot be a part of a tag" in what
    assert next_step == "rename the file: my-gr-e-8.yaml"
