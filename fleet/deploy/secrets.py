"""Secrets that a run takes along: by name, from the environment alone; never from a flag, never shown or stored."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from fleet.deploy.secret_shapes import held_by, secret_in
from profiles.errors import WrongInput

# What the run scripts in the image read as secrets (templates/run/settings), but for keys that log in.
NAMES = ("HF_TOKEN", "WANDB_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
PATH = f"of secrets only {', '.join(NAMES)} go along, from the environment"
# Variables that every machine is given by deploy (container.py, place.py) or a client: the flag that says them.
OURS = {
    "STOKER_RUN": "--name",
    "MODEL_TAG": "--name",
    "STOKER_IMAGE": "--image",
    "STOKER_REMOTE": "--remote",
    "STOKER_DOLLARS": "--budget",
    "STOKER_PRICE": "--max-price",
    "TRAINING_HOURS": "--hours",
    "STOKER_DEADLINE": "--hours",
    "STOKER_IDLE_MINUTES": "--idle-minutes",
    "PUBLIC_KEY": "export PUBLIC_KEY=...: it is taken from there",
    "STOKER_PROVIDER": "--provider",
    **dict.fromkeys(("STOKER_TAG", "STOKER_SECRETS", "STOKER_PROVIDER_URL", "STOKER_CLOCK"), ""),
    **dict.fromkeys(("STOKER_END_INSTANCE", "STOKER_KEEP_MINUTES"), ""),
}
NEEDED = {"hf": ("HF_TOKEN",), "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}


def found(environ: Mapping[str, str]) -> dict[str, str]:
    """Those that are set. Raises WrongInput for one with a line break: no variable of a container holds it."""
    held = {name: environ[name] for name in NAMES if environ.get(name, "").strip()}
    for name, value in held.items():
        if any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
            raise WrongInput(f"{name} holds a line break or a control character", f"set {name} to the value alone")
    return held


def typed(texts: list[str], environ: Mapping[str, str] | None = None, home: Path | None = None) -> dict[str, str]:
    """--env NAME=VALUE as variables. environ, home: where the user's own keys are, which no value may be.

    Raises WrongInput for a secret, which no message repeats, for what is no variable, and for one that is ours to set.
    """
    from profiles.schema import env_name, env_value

    held = held_by(os.environ if environ is None else environ, home or Path.home()) if texts else []
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if secret_in(name, held):
            raise WrongInput("--env: a secret stands where a name should be", f"write --env NAME=VALUE; {PATH}")
        if not equals:
            raise WrongInput(f"--env {name[:40]} has no value", "write --env NAME=VALUE")
        try:
            env_name(name), env_value(value)
        except ValueError as wrong:
            raise WrongInput(f"--env: {wrong}", "write --env NAME=VALUE") from None
        if why := secret(name, value, held):
            step = f"export {name}=...: it is taken from there" if name in NAMES else f"leave it out; {PATH}"
            raise WrongInput(f"--env {name}: {why}, and what is typed is shown, stored and sent in the clear", step)
        if name in OURS:
            raise WrongInput(f"--env {name}: the fleet sets it by itself", OURS[name] or "leave it out")
        found[name] = value
    return found


def secret(name: str, value: str, held: Sequence[str] = ()) -> str:
    """Why a variable is a secret, in words without its value; "" when it is none."""
    from images.layers.secret_rules import ENV_NAME
    from images.layers.secrets import scan_env

    if ENV_NAME.fullmatch(name) or name in NAMES:
        return "it is a secret by its name"
    return secret_in(value, held) or ("it has the shape of a key or token" if scan_env([(name, value)]) else "")


def missing_for(remote: str, held: Mapping[str, str]) -> list[str]:
    """Names that a remote of this kind usually needs and that are not set."""
    return [name for name in NEEDED.get(remote.partition("://")[0], ()) if name not in held]
