"""A Transformer Engine on the CPU, built from the recorded facts of one version.

Every call is bound to that version's real signature, so that a keyword it does not know fails as it would there. The
arithmetic is plain; the state (fp8_meta, _extra_state, the pickle gate, shape rules) follows the version's sources.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import enum
import inspect
import io
import json
import math
import os
import pickle
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import nn
from torch.nn import functional

FOLDER = Path(__file__).parent / "signatures"
VERSIONS = sorted(
    (path.stem.removeprefix("te-") for path in FOLDER.glob("te-*.json")),
    key=lambda version: tuple(map(int, version.split("."))),
)


def facts_of(version: str) -> dict[str, Any]:
    """What record_signatures.py wrote."""
    return json.loads((FOLDER / f"te-{version}.json").read_text(encoding="utf-8"))


def signature(parameters: list[dict[str, str]]) -> inspect.Signature:
    """Recorded parameters as one that can be bound."""
    return inspect.Signature(
        [
            inspect.Parameter(
                entry["name"],
                inspect._ParameterKind[entry["kind"]],
                default=_value(entry["default"]) if "default" in entry else inspect.Parameter.empty,
            )
            for entry in parameters
        ]
    )


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text  # an expression such as os.getenv(...) or Format.HYBRID: its text stands for it


class Engine:
    """The library's global state, and the modules to import it by."""

    def __init__(self, version: str) -> None:
        self.facts = facts_of(version)
        self.major = int(version.split(".")[0])
        self.enabled, self.recipe, self.group = False, None, None
        self.regions: list[tuple[bool, Any]] = []
        self.refusal = ""  # what the probes answer
        self.checkpointed = 0
        self.linears: list[dict[str, Any]] = []  # constructor arguments
        self.ran: list[nn.Module] = []  # in the open region

    def bind(self, name: str, args: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
        """Arguments by name as the version's function takes them. Raises TypeError as a real call would."""
        bound = signature(self.facts["signatures"][name]).bind(*args, **options)
        bound.apply_defaults()
        return bound.arguments

    def modules(self) -> dict[str, ModuleType]:
        """What goes into sys.modules."""
        names = ("", ".common", ".common.recipe", ".pytorch", *(f".pytorch.{m}" for m in self.facts["state_manager"]))
        found = {f"transformer_engine{name}": ModuleType(f"transformer_engine{name}") for name in names}
        pytorch, recipes = found["transformer_engine.pytorch"], found["transformer_engine.common.recipe"]
        for name in self.facts["exports"]:
            if hasattr(self, name):
                setattr(pytorch, name, getattr(self, name))
            elif name.endswith("_available"):
                setattr(pytorch, name, self._probe(name))
        pytorch.Linear = linear_class(self)
        for module, probes in self.facts["state_manager"].items():
            manager = SimpleNamespace(**dict.fromkeys(probes, self._old_probe))
            found[f"transformer_engine.pytorch.{module}"].FP8GlobalStateManager = manager
        recipes.Format = Format
        for name, fields in self.facts["recipes"].items():
            setattr(recipes, name, recipe_class(name, fields))
        return found

    def autocast(self, *args: Any, **options: Any) -> Any:
        """2.9 and later."""
        given = self.bind("autocast", args, options)
        return self._region(given["enabled"], given["recipe"], given["amax_reduction_group"])

    def fp8_autocast(self, *args: Any, **options: Any) -> Any:
        """The old spelling, deprecated in 2.9."""
        assert "autocast" not in self.facts["exports"], "deprecated since 2.9"
        given = self.bind("fp8_autocast", args, options)
        return self._region(given["enabled"], given["fp8_recipe"], given["fp8_group"])

    def checkpoint(self, *args: Any, **options: Any) -> Any:
        """Only the keywords that the version pops are its own; the rest goes to the function."""
        self.bind("checkpoint", args, options)
        unknown = set(options) - set(self.facts["checkpoint_keywords"])
        assert not unknown, f"{unknown} would be passed to the function"
        self.checkpointed += 1
        function, *rest = args
        return torch.utils.checkpoint.checkpoint(function, *rest, use_reentrant=options.get("use_reentrant", True))

    @contextlib.contextmanager
    def _region(self, enabled: bool, recipe: Any, group: Any) -> Any:
        assert recipe is not None, "without a recipe the default depends on the GPU"
        before = (self.enabled, self.recipe)
        self.enabled, self.recipe, self.ran = enabled, recipe, []
        self.regions.append((enabled, recipe))
        try:
            yield
        finally:
            self.enabled, self.recipe = before

    def _probe(self, name: str) -> Any:
        def probe(*args: Any, **options: Any) -> Any:
            given = self.bind(name, args, options)
            return (not self.refusal, self.refusal) if given.get("return_reason") else not self.refusal

        return probe

    def _old_probe(self) -> tuple[bool, str]:
        return not self.refusal, self.refusal


class Format(enum.Enum):
    """As common/recipe."""

    E4M3 = "e4m3"
    E5M2 = "e5m2"
    HYBRID = "hybrid"


def recipe_class(name: str, fields: list[dict[str, str]]) -> type:
    """A recipe with the version's fields."""

    def check(self: Any) -> None:
        assert getattr(self, "fp8_format", None) is not Format.E5M2, "Pure E5M2 training is not supported."

    specs = [(entry["name"], Any, dataclasses.field(default=_value(entry.get("default", "None")))) for entry in fields]
    made = dataclasses.make_dataclass(name, specs, namespace={"__post_init__": check})
    made.__module__ = "transformer_engine.common.recipe"
    return made


def linear_class(engine: Engine) -> type[nn.Module]:
    """te.Linear of one version."""
    state_facts = engine.facts["extra_state"]

    class Linear(nn.Module):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__()
            given = engine.bind("Linear.__init__", args, options)
            engine.linears.append(given)
            kind, place = given["params_dtype"], given["device"]
            self.weight = nn.Parameter(
                torch.randn(given["out_features"], given["in_features"], dtype=kind, device=place)
            )
            self.bias = (
                nn.Parameter(torch.zeros(given["out_features"], dtype=kind, device=place)) if given["bias"] else None
            )
            self.fp8 = False
            self.fp8_meta: dict[str, Any] = {"fp8_checkpoint": False}

        def forward(self, *args: Any, **options: Any) -> Any:
            given = engine.bind("Linear.forward", args, options)
            assert given["is_first_microbatch"] is None
            x = given["inp"]
            self.fp8 = engine.enabled
            if self.fp8:
                # utils.py, assert_dim_for_fp8_exec
                assert math.prod(x.shape[:-1]) % 8 == 0 and x.shape[-1] % 16 == 0, tuple(x.shape)
                self._remember(x)
            return functional.linear(x, self.weight, self.bias)

        def _remember(self, x: Any) -> None:
            delayed = type(engine.recipe).__name__ == "DelayedScaling"
            if delayed and torch.is_grad_enabled() and self not in engine.ran:
                engine.ran.append(self)
            self.fp8_meta["recipe"] = engine.recipe
            if not delayed:
                return
            if "scaling_fwd" not in self.fp8_meta:
                length = engine.recipe.amax_history_len
                for key, slots in (("scaling_fwd", 3), ("scaling_bwd", 2)):
                    self.fp8_meta[key] = SimpleNamespace(
                        scale=torch.ones(slots), scale_inv=torch.ones(slots), amax_history=torch.zeros(length, slots)
                    )
            forward = self.fp8_meta["scaling_fwd"]
            with torch.no_grad():
                forward.amax_history[0, 0], forward.amax_history[0, 1] = x.abs().max(), self.weight.abs().max()
                forward.scale[:2] = 448 / forward.amax_history[0, :2]

        def get_extra_state(self) -> Any:
            recipe = self.fp8_meta.get("recipe")
            state = None
            if self.fp8 and "scaling_fwd" in self.fp8_meta:
                state = {key: self._part(key) for key in state_facts["keys"]}
            elif self.fp8 and recipe is not None and engine.major >= 2 and not state_facts["empty_when_off"]:
                state = {"recipe": "a stateless recipe", "extra_fp8_variables": {}}
            if state is None and state_facts["empty_when_off"]:
                return torch.empty(0, dtype=torch.uint8)
            if state_facts["container"] == "BytesIO":
                target = io.BytesIO()
                torch.save(state, target)
                return target
            return torch.frombuffer(bytearray(pickle.dumps(state)), dtype=torch.uint8)

        def _part(self, key: str) -> Any:
            if key == "recipe":
                return {"recipe": "DelayedScaling"}
            if key == "extra_fp8_variables":
                return {"num_gemms": 1}
            name, direction = key.rsplit("_", 1)
            return getattr(self.fp8_meta[f"scaling_{direction}"], name)

        def set_extra_state(self, state: Any) -> None:
            if state is None:
                return
            if isinstance(state, torch.Tensor):
                if state.numel() == 0:
                    return
                self._gate()
                found = pickle.loads(state.numpy().tobytes())
            else:
                assert isinstance(state, io.BytesIO), "Unsupported checkpoint format."
                self._gate()
                state.seek(0)
                found = torch.load(state, weights_only=False)
            if found is None:
                return
            self.fp8 = True
            for direction in ("fwd", "bwd"):
                self.fp8_meta[f"scaling_{direction}"] = SimpleNamespace(
                    scale=found[f"scale_{direction}"].clone(),
                    scale_inv=found[f"scale_inv_{direction}"].clone() if engine.major < 2 else torch.ones(1),
                    amax_history=found[f"amax_history_{direction}"].clone(),
                )

        def _gate(self) -> None:
            if state_facts["gated"] and os.environ.get(state_facts["variable"]) != "1":
                raise RuntimeError("Refusing to load pickled Transformer Engine extra state")

    return Linear


def install(version: str, monkeypatch: Any) -> Engine:
    """Puts the version in the way of `import transformer_engine`."""
    engine = Engine(version)
    for name in [name for name in sys.modules if name.split(".")[0] == "transformer_engine"]:
        monkeypatch.delitem(sys.modules, name)
    for name, module in engine.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    return engine
