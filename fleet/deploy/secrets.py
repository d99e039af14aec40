"""Secrets that a run takes along: by name, from the environment alone; never from a flag, never shown or stored."""

from __future__ import annotations

from collections.abc import Mapping

from profiles.errors import Refused, WrongInput

# What the run scripts in the image read as secrets (templates/run/settings), but for keys that log in.
NAMES = ("HF_TOKEN", "WANDB_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
NEEDED = {"hf": ("HF_TOKEN",), "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}


def found(environ: Mapping[str, str]) -> dict[str, str]:
    """Those that are set. Raises WrongInput for one with a line break: no variable of a container holds it."""
    held = {name: environ[name] for name in NAMES if environ.get(name, "").strip()}
    for name, value in held.items():
        if any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
            raise WrongInput(f"{name} holds a line break or a control character", f"set {name} to the value alone")
    return held


def typed(texts: list[str]) -> dict[str, str]:
    """--env NAME=VALUE as variables. Raises Refused for a secret, WrongInput for what is no variable."""
    from images.layers.secret_rules import ENV_NAME
    from profiles.schema import env_name, env_value

    held = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise WrongInput(f"--env {name[:40]} has no value", "write --env NAME=VALUE")
        try:
            env_name(name), env_value(value)
        except ValueError as wrong:
            raise WrongInput(f"--env: {wrong}", "write --env NAME=VALUE") from None
        if ENV_NAME.fullmatch(name) or name in NAMES or secret_value(name, value):
            raise Refused(
                f"--env {name}: its value is a secret, and a command line is read by others",
                f"put it into the environment: export {name}=...; {', '.join(NAMES)} are taken from there",
            )
        held[name] = value
    return held


def secret_value(name: str, value: str) -> bool:
    """Whether a value has the shape of a key or token."""
    from images.layers.secrets import scan_env

    return bool(scan_env([(name, value)]))


def missing_for(remote: str, held: Mapping[str, str]) -> list[str]:
    """Names that a remote of this kind usually needs and that are not set."""
    return [name for name in NEEDED.get(remote.partition("://")[0], ()) if name not in held]
