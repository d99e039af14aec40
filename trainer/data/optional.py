"""Libraries that only some corpora and tokenizers need: imported when they are, and named when they are missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from trainer.errors import OUTSIDE_FAILED, TrainerError


def need(module: str, package: str, for_what: str) -> ModuleType:
    """The module. Raises TrainerError naming the pip package when it is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] != module.split(".")[0]:
            raise TrainerError(
                f"{package} is broken here: {error}", f"pip install {error.name}", OUTSIDE_FAILED
            ) from None
        raise TrainerError(f"{for_what} needs {package}", f"pip install {package}", OUTSIDE_FAILED) from None
