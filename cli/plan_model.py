"""Which model: a profile's, then a preset, a known model, a size or dimensions over it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cli.amounts import whole
from cli.plan_asked import Asked, choice, told
from cli.plan_flags import Flags
from profiles.errors import WrongInput

if TYPE_CHECKING:
    from profiles.schema import Profile

GPT2_VOCAB = 50304  # GPT-2's 50257 tokens, up to a multiple of 128
MOST = {"depth": 1000, "layers": 10_000, "width": 1_000_000, "heads": 100_000, "vocab": 100_000_000}
NAMES = {"preset": "--preset", "model": "--model", "model_size": "--model-size", "depth": "--depth"}
SIZES = ("layers", "width", "heads")


def choose_model(found: Asked, flags: Flags, profile: Profile | None) -> None:
    """Puts profile, model and dimensions into `found`. Raises WrongInput."""
    one_model(flags)
    if profile is not None:
        of_profile(found, profile)
    if any(getattr(flags, name) for name in NAMES):
        named(found, flags)
    elif profile is None and not flags.run:
        from_dimensions(found, flags)
    for name in (*SIZES, "vocab"):
        if text := getattr(flags, name):
            of_dimension(found, name, whole(text, f"--{name}", 1, MOST[name]))
    for text in flags.set:
        found.assign(text)


def one_model(flags: Flags) -> None:
    """Raises WrongInput for two flags that each name a model."""
    given = [flag for name, flag in NAMES.items() if getattr(flags, name)]
    if given and not flags.preset:
        given += [f"--{name}" for name in SIZES if getattr(flags, name)]
    if len(given) > 1:
        what = f"{', '.join(given[:-1])} and {given[-1]} contradict each other: each says which model"
        raise WrongInput(what, f"leave {' and '.join(given[1:])} out")


def of_profile(found: Asked, profile: Profile) -> None:
    """As the trainer reads the profile that is baked beside it: trainer.config.read.apply_hardware."""
    source = f"profile {profile.name}"
    found.put({"precision": {"name": profile.precision}, "model": {"attention": profile.attention}}, source)
    spread = profile.parallelism.model_dump(include=set(profile.parallelism.model_fields_set))
    if spread:
        found.put({"parallel": spread}, source)
    found.put(dict(profile.trainer), source)


def named(found: Asked, flags: Flags) -> None:
    """A preset, a known model, a size or a depth, over whatever model there was."""
    from trainer.config.presets import PRESETS

    found.forget_model()
    if flags.preset or flags.model in PRESETS:
        with told():
            from trainer.config.presets import preset

            one = preset(flags.preset or flags.model)
        found.put(one.values, f"preset {one.name}")
        found.name = one.name
    elif flags.model:
        from fleet.capacity import models

        found.shape = models.model(flags.model)
    elif flags.model_size:
        from fleet.capacity.advice.sizes import SIZES as DEPTHS

        depth = DEPTHS[choice(flags.model_size, "--model-size", DEPTHS)]
        of_depth(found, depth, f"--model-size {flags.model_size}")
    else:
        of_depth(found, whole(flags.depth, "--depth", 1, MOST["depth"]), f"--depth {flags.depth}")


def of_depth(found: Asked, depth: int, source: str) -> None:
    """nanochat's dial, with the vocabulary of the trainer's own presets. Raises WrongInput for half a head."""
    if depth % 2:  # 64 of width per layer, heads of 128
        raise WrongInput(
            f"{source}: {64 * depth} of width are no whole heads of 128", f"--depth {depth - 1 or 2} or {depth + 1}"
        )
    found.put({"model": {"family": "nanochat", "depth": depth, "context": 2048, "vocab": 65536}}, source)
    found.name = f"nanochat d{depth}"


def from_dimensions(found: Asked, flags: Flags) -> None:
    """A model of nothing but dimensions. Raises WrongInput unless there are all three."""
    missing = [f"--{name}" for name in SIZES if not getattr(flags, name)]
    missing = [flag for flag in missing if not any(text.startswith(f"model.{flag[2:]}=") for text in flags.set)]
    if len(missing) == len(SIZES):
        raise WrongInput(
            "nothing to plan: no model is named",
            "--profile NAME, --preset NAME, --model NAME or --model-size small|medium|large|xlarge",
        )
    if missing:
        raise WrongInput(f"dimensions without {' and '.join(missing)} are no model", f"add {' and '.join(missing)}")
    if not flags.vocab:
        found.put({"model": {"vocab": GPT2_VOCAB, "context": 2048}}, "assumed")
        found.notes.append(f"vocabulary {GPT2_VOCAB:,} (GPT-2's) assumed: --vocab")


def of_dimension(found: Asked, name: str, value: int) -> None:
    """One of layers, width, heads, vocab."""
    if found.shape is not None:
        found.shape = replace(found.shape, vocab=value)  # one_model lets nothing else through
        return
    if name != "vocab" and found.config.model.depth:
        said = found.said.get("model.depth", "the depth")
        raise WrongInput(f"--{name} contradicts {said}, which sets it by the depth", "give one of them")
    found.put({"model": {name: value}}, f"--{name}")
    found.name = f"{found.name}, {name} {value}" if found.name else ""
