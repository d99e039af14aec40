"""Records what we rely on in one Transformer Engine version: names, parameters, defaults. Facts, no code.

    python record_signatures.py TREE VERSION   # TREE: an unpacked wheel, the folder that holds transformer_engine/

Nothing is imported or run: the sources are parsed. Writes signatures/te-VERSION.json beside this file.
"""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

NAMES = (
    "autocast",
    "fp8_autocast",
    "quantized_model_init",
    "fp8_model_init",
    "is_fp8_available",
    "is_mxfp8_available",
    "is_fp8_block_scaling_available",
    "is_nvfp4_available",
    "is_bf16_available",
    "get_default_recipe",
    "checkpoint",
    "Linear",
    "DotProductAttention",
)
METHODS = {"Linear": ("__init__", "forward"), "DotProductAttention": ("__init__", "forward")}
RECIPES = (
    "DelayedScaling",
    "MXFP8BlockScaling",
    "Float8CurrentScaling",
    "Float8BlockScaling",
    "NVFP4BlockScaling",
    "CustomRecipe",
)
PROBES = ("is_fp8_available", "is_mxfp8_available", "is_fp8_block_scaling_available", "is_nvfp4_available")


class Tree:
    """The sources of one version."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._parsed: dict[str, ast.Module] = {}

    def module(self, name: str) -> ast.Module | None:
        """A module by its dotted name, a package by its __init__."""
        if name not in self._parsed:
            path = self.root / Path(*name.split("."))
            found = next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)
            if found is None:
                return None
            self._parsed[name] = ast.parse(found.read_text(encoding="utf-8"))
        return self._parsed[name]

    def is_package(self, name: str) -> bool:
        """Whether relative imports in it start at itself."""
        return (self.root / Path(*name.split(".")) / "__init__.py").is_file()

    def find(self, module: str, name: str, depth: int = 8) -> tuple[str, ast.AST] | None:
        """Where a name that `module` offers is defined: (module, definition), through imports."""
        tree = self.module(module)
        if tree is None or depth == 0:
            return None
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name and node in tree.body:
                return module, node
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                source = self._source(module, node)
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        return self.find(source, alias.name, depth - 1)
                    if alias.name == "*" and (found := self.find(source, name, depth - 1)):
                        return found
        return None

    def _source(self, module: str, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = module.split(".")
        up = node.level - 1 if self.is_package(module) else node.level
        base = parts[: len(parts) - up]
        return ".".join([*base, *([node.module] if node.module else [])])


def parameters(node: ast.FunctionDef) -> list[dict[str, str]]:
    """Names, kinds and defaults, without self."""
    spec, found = node.args, []
    positional = [*spec.posonlyargs, *spec.args]
    defaults = [None] * (len(positional) - len(spec.defaults)) + list(spec.defaults)
    for argument, default in zip(positional, defaults, strict=True):
        if argument.arg not in ("self", "cls"):
            found.append(_parameter(argument.arg, "POSITIONAL_OR_KEYWORD", default))
    if spec.vararg:
        found.append(_parameter(spec.vararg.arg, "VAR_POSITIONAL", None))
    for argument, default in zip(spec.kwonlyargs, spec.kw_defaults, strict=True):
        found.append(_parameter(argument.arg, "KEYWORD_ONLY", default))
    if spec.kwarg:
        found.append(_parameter(spec.kwarg.arg, "VAR_KEYWORD", None))
    return found


def _parameter(name: str, kind: str, default: ast.expr | None) -> dict[str, str]:
    value = {"name": name, "kind": kind}
    return value if default is None else {**value, "default": ast.unparse(default)}


def method(node: ast.AST, name: str) -> ast.FunctionDef | None:
    """A method of a class definition."""
    body = node.body if isinstance(node, ast.ClassDef) else []
    return next((part for part in body if isinstance(part, ast.FunctionDef) and part.name == name), None)


def popped(node: ast.AST) -> dict[str, str]:
    """Keyword arguments taken by kwargs.pop("name", default)."""
    return {
        call.args[0].value: ast.unparse(call.args[1])
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "kwargs.pop" and len(call.args) == 2
    }


def extra_state(tree: Tree) -> dict[str, object]:
    """How a module's _extra_state is written: the container, its keys, and whether reading it is gated."""
    base = tree.find("transformer_engine.pytorch.module.base", "TransformerEngineBaseModule")
    writer, reader = method(base[1], "get_extra_state"), method(base[1], "set_extra_state")
    keys = {
        node.slice.value
        for node in ast.walk(writer)
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "state" and isinstance(node.ctx, ast.Store)
    }
    text = ast.unparse(writer)
    return {
        "container": "BytesIO" if "torch.save" in text else "tensor",
        "empty_when_off": "torch.empty(0" in text,
        "keys": sorted(keys),
        "gated": "should_load_extra_state_pickle" in ast.unparse(reader),
        "variable": constant(tree, "transformer_engine.pytorch._extra_state", "UNSAFE_PICKLE_EXTRA_STATE_ENV"),
    }


def constant(tree: Tree, module: str, name: str) -> str | None:
    """A module-level string."""
    parsed = tree.module(module)
    for node in parsed.body if parsed else []:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    return None


def fields(node: ast.ClassDef) -> list[dict[str, str]]:
    """Dataclass fields in order."""
    return [
        _parameter(part.target.id, "POSITIONAL_OR_KEYWORD", part.value)
        for part in node.body
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
    ]


def record(root: Path, version: str) -> dict[str, object]:
    """Everything about one version."""
    tree, package = Tree(root), "transformer_engine.pytorch"
    exports, signatures = {}, {}
    for name in NAMES:
        found = tree.find(package, name)
        if found is None:
            continue
        exports[name] = found[0]
        if isinstance(found[1], ast.FunctionDef):
            signatures[name] = parameters(found[1])
        elif name not in METHODS:  # autocast is a class from 2.17 on
            signatures[name] = parameters(method(found[1], "__init__"))
        for part in METHODS.get(name, ()):
            signatures[f"{name}.{part}"] = parameters(method(found[1], part))
    managers = {}
    for module in ("fp8", "quantization"):
        found = tree.find(f"{package}.{module}", "FP8GlobalStateManager")
        if found:
            managers[module] = [name for name in PROBES if method(found[1], name)]
    recipes = {}
    for name in RECIPES:
        found = tree.find("transformer_engine.common.recipe", name)
        if found:
            recipes[name] = fields(found[1])
    return {
        "version": version,
        "exports": exports,
        "signatures": signatures,
        "checkpoint_keywords": popped(tree.find(package, "checkpoint")[1]),
        "recipes": recipes,
        "state_manager": managers,
        "extra_state": extra_state(tree),
    }


if __name__ == "__main__":
    target = Path(__file__).parent / "signatures" / f"te-{sys.argv[2]}.json"
    target.write_text(json.dumps(record(Path(sys.argv[1]), sys.argv[2]), indent=1) + "\n", encoding="utf-8")
