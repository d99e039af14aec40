"""The bodies that providers are sent, out of templates/providers/: every value as JSON, then read as JSON again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).parents[2] / "templates" / "providers"
# Of one run or one attempt, not of the plan; and everything that begins with STOKER_. What a template does not hold, it
# need not be changed for, and a machine that boots from it later cannot get from it.
OF_A_RUN = frozenset({"TRAINING_HOURS", "MODEL_TAG", "PUBLIC_KEY"})


@cache
def environment() -> Environment:
    """The templates of all providers; a value that is missing is a mistake of ours."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(loader=FileSystemLoader(FOLDER), undefined=StrictUndefined, autoescape=False)


def rendered(provider: str, name: str, values: Mapping[str, object]) -> dict[str, Any]:
    """The body `name` of a provider with `values`, each of them quoted as JSON by the template."""
    body: dict[str, Any] = json.loads(environment().get_template(f"{provider}/{name}.json.j2").render(values))
    return body


def of_a_run(env: Mapping[str, str]) -> dict[str, str]:
    """The variables of one run or attempt: they go with the create alone."""
    return {name: value for name, value in env.items() if name in OF_A_RUN or name.startswith("STOKER_")}


def of_the_plan(env: Mapping[str, str]) -> dict[str, str]:
    """The variables that are the same for every run of a plan: a template may hold them."""
    return {name: value for name, value in env.items() if name not in of_a_run(env)}
