"""Optional libraries, loaded when a store first needs them."""

from __future__ import annotations

import importlib
from typing import Any

from trainer.errors import TrainerError


def need(module: str, package: str, what: str) -> Any:
    """The module. Raises TrainerError naming the pip package when it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise TrainerError(f"{what} needs {package}, which is not installed", f"pip install {package}") from None
