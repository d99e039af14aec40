"""The plan as a Dockerfile: the text BuildKit builds, and what `render` shows."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from images.builders import config as configs
from images.layers.tar import MTIME
from images.plan import HOME, Base, Foundation, ImagePlan, Layer
from profiles.errors import WrongInput

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"
EPOCH = 86400  # seconds: day 1, since shadow(5) takes day 0 for "must be changed now"
APT_SECRET = "apt-auth"  # id of the build secret: a netrc file for private package indexes (apt_auth.conf(5))

# Hold times, random bytes, or what the next `apt-get update` makes again; above all the private host keys that
# openssh-server makes as it is installed: in an image, every machine that runs it would have the same ones.
VOLATILE = (
    "/etc/ssh/ssh_host_*_key",
    "/etc/ssh/ssh_host_*_key.pub",
    "/etc/machine-id",
    "/var/lib/dbus/machine-id",
    "/var/log/apt",
    "/var/log/dpkg.log",
    "/var/log/alternatives.log",
    "/var/cache/ldconfig/aux-cache",
    "/var/cache/debconf/*-old",
    "/var/lib/dpkg/*-old",
)

# What may stand unquoted in an instruction. Anything else is refused: it would be read as another instruction.
ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
LABEL_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?")
LAYER_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?")
PLAIN_PATH = re.compile(r"[A-Za-z0-9._/+@-]+")  # COPY expands variables and wildcards
REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]*")
# Debian policy 5.6.1 and 5.6.12, with apt's `=version`, `/release` and `:architecture`.
PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(:[a-z0-9-]+)?([=/][A-Za-z0-9.+~:-]+)?")
PORT = re.compile(r"[0-9]{1,5}(-[0-9]{1,5})?(/(tcp|udp|sctp))?")
USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?")
SIGNAL = re.compile(r"[A-Z0-9+-]+")


def render(plan: ImagePlan, *, base: str | None = None, link: bool = False) -> str:
    """The Dockerfile of `plan`; its context is what `images.builders.context.write` makes.

    base: a reference the engine already knows, for a bootstrapped base (`stoker-base:<digest12>`) or a mirror;
    without it, the plan's own name and digest. link: write `COPY --link`, which the frontend inside engines before
    23.0 does not know (a `# syntax=` line would have to be fetched, so there is none).
    Raises WrongInput for a value that a Dockerfile cannot hold.
    """
    config = plan.config
    for what, pattern, texts in (
        ("environment variable", ENV_NAME, [name for name, _ in config.env]),
        ("label", LABEL_NAME, [name for name, _ in config.labels]),
        ("layer", LAYER_NAME, [layer.name for layer in plan.layers]),
        ("port", PORT, config.ports),
        ("user", USER, [config.user] if config.user else []),
        ("stop signal", SIGNAL, [config.stop_signal]),
    ):
        check(what, pattern, texts)
    foundation = foundation_values(plan.base, plan.foundation) if plan.foundation else {}
    return rendered(
        title=plan.tag,
        base=base or reference(plan.base),
        copies=[copy for layer in plan.layers for copy in copies(layer, link)],
        config=config,
        labels=configs.labels(plan),
        health=health_flags(),
        unprivileged=config.user.partition(":")[0].strip("0").isdigit(),
        **foundation,
    )


def copies(layer: Layer, link: bool) -> list[str]:
    """The COPY instructions of a layer: our own folder as a whole, anything outside of it file by file.

    Copying a tree gives the base's folders on the way the modes of ours; the append builder leaves them alone, and
    Debian's /usr/local/lib/python3/dist-packages is not 0755. `--link` does that even for one file: it makes the
    folders anew and lays them over the base's, so only our own folder is linked.
    """
    source = f"layers/{layer.name}"
    outside = sorted(one.target for one in layer.files if not one.target.startswith(f"{HOME}/"))
    check("path outside of our folder", PLAIN_PATH, outside)
    found = []
    if layer.wheels or len(outside) < len(layer.files):
        found.append(f"COPY {'--link ' if link else ''}{source}/{HOME}/ /{HOME}/")
    return found + [f"COPY {source}/{path} /{path}" for path in outside]


def render_foundation(base: Base, foundation: Foundation, *, reference_of_base: str | None = None) -> str:
    """The Dockerfile of the foundation alone; its RUN step is the same text, so that builders share its cache."""
    return rendered(
        title=f"stoker-foundation {foundation.key(base)[:12]}",
        base=reference_of_base or reference(base),
        **foundation_values(base, foundation),
    )


def foundation_values(base: Base, foundation: Foundation) -> dict[str, Any]:
    """What the RUN step of system packages is made of. The cache is the base's own: lists differ by release."""
    check("package", PACKAGE, foundation.packages)
    return {
        "packages": sorted(set(foundation.packages)),
        "cache": base.digest.removeprefix("sha256:")[:12],
        "secret": APT_SECRET,
        "volatile": VOLATILE,
        "mtime": MTIME,
        "epoch": EPOCH,
    }


def reference(base: Base) -> str:
    """`name:tag@digest`. Raises WrongInput for a bootstrapped base: only an engine it was loaded into has a name."""
    if base.kind != "registry":
        raise WrongInput(f"{base.name} is bootstrapped, no registry has it", "load it into the engine first")
    return f"{base.name}@{base.digest}"


def rendered(**values: Any) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES, encoding="utf-8"),
        undefined=jinja2.ChainableUndefined,
        autoescape=False,
        keep_trailing_newline=True,
    )
    environment.filters.update(quoted=quoted, exec=exec_form)
    check("base", REFERENCE, [values["base"]])
    return environment.get_template("Dockerfile.j2").render(values)


def check(what: str, pattern: re.Pattern[str], texts: Sequence[str]) -> None:
    for text in texts:
        if not pattern.fullmatch(text):
            raise WrongInput(f"{what} {text[:100]!r} cannot stand in a Dockerfile", "correct it in the profile")


def quoted(value: str) -> str:
    """`value` as one word that the Dockerfile reader turns back into exactly `value`: nothing expands in it.

    Backslashes stand outside the quotes, because hadolint misreads one that comes before a closing quote; a last one
    is followed by empty quotes, because BuildKit takes a backslash at the end of a line for a continuation.
    Raises WrongInput for control characters, which no instruction can hold, and text that is not UTF-8.
    """
    printable(value)
    parts = re.findall(r"\\+|[^\\]+", value)
    words = [
        part.replace("\\", "\\\\") if part[0] == "\\" else '"' + re.sub(r'(["$])', r"\\\1", part) + '"'
        for part in parts
    ]
    return "".join(words) + ('""' if not parts or parts[-1][0] == "\\" else "")


def exec_form(command: Sequence[str]) -> str:
    """`command` as the JSON array of an exec form; quotes and backslashes as \\u escapes, which hadolint reads."""
    for word in command:
        printable(word)
    words = (json.dumps(word, ensure_ascii=False) for word in command)
    return "[" + ", ".join(word.replace("\\\\", "\\u005c").replace('\\"', "\\u0022") for word in words) + "]"


def printable(value: str) -> None:
    """Raises WrongInput for what would end the line or cannot be written as UTF-8."""
    if any((ord(c) < 32 and c != "\t") or 0x7F <= ord(c) < 0xA0 or 0xD800 <= ord(c) < 0xE000 for c in value):
        what = "".join(c if c.isprintable() else "?" for c in value)[:60]
        raise WrongInput(f"{what!r} holds a line break or another control character", "put it on one line")


def health_flags() -> str:
    """The options of HEALTHCHECK, from the same numbers that the config of an appended image gets."""
    seconds = {name: configs.HEALTH[key] // configs.NANOSECONDS for name, key in HEALTH_FLAGS.items()}
    return " ".join(
        [*(f"--{name}={value}s" for name, value in seconds.items()), f"--retries={configs.HEALTH['Retries']}"]
    )


HEALTH_FLAGS = {"interval": "Interval", "timeout": "Timeout", "start-period": "StartPeriod"}
