"""Whether a machine is what was ordered and can run the image: every reason in a row, before gigabytes are pulled."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from profiles import gpus

GB = 1e9
MEMORY_DIFFERS = 0.03  # drivers differ by a few MiB in what they report of one card
APT = ("debian", "ubuntu")


@dataclass(frozen=True, slots=True)
class Wanted:
    """gpus: keys of profiles/tables/gpus.yaml of which it has to be one, empty: any; count: of them; cuda: least CUDA
    of the driver, "" for any; disk_gb, volume_gb: GB (10^9) for image and container, and for the volume at `mount`."""

    gpus: tuple[str, ...]
    count: int
    cuda: str = ""
    disk_gb: int = 0
    volume_gb: int = 0
    image: str = ""
    mount: str = "/workspace"


@dataclass(frozen=True, slots=True)
class Check:
    """ok None: could not be read (yet), which is neither yes nor no."""

    name: str
    ok: bool | None
    words: str


def judged(facts: Mapping[str, str], wanted: Wanted) -> list[Check]:
    """The rows. facts: what probe.sh said. What `missing` can put there is no row here."""
    return [*_graphics(facts, wanted), _driver(facts, wanted), *_room(facts, wanted), _system(facts)]


def missing(facts: Mapping[str, str]) -> list[str]:
    """Parts of install.sh that are needed, in its order."""
    parts = []
    if facts.get("docker") == "no" or not facts.get("engine"):
        parts.append("docker")
    if facts.get("toolkit") == "no":
        parts += ["toolkit", "runtime"]
    return parts


def _graphics(facts: Mapping[str, str], wanted: Wanted) -> list[Check]:
    """Model, form factor, memory and number, by nvidia-smi: a create of Hyperbolic cannot name a form factor, and two
    of one type differ in speed (providers.md 3.3)."""
    if facts.get("smi") == "no":
        return [Check("GPUs", None, "no nvidia-smi on the machine")]
    rows = [value for name, value in sorted(facts.items()) if re.fullmatch(r"gpu\.\d+", name)]
    cards = [parts for row in rows if len(parts := [part.strip() for part in row.split(",")]) == 3]
    if not cards or len(cards) != len(rows):
        return [Check("GPUs", None, "nvidia-smi shows no GPU that can be read")]
    names = sorted({card[0] for card in cards})
    checks = [Check("number of GPUs", len(cards) == wanted.count, f"{len(cards)}, ordered {wanted.count}")]
    if wanted.gpus:
        fits = all(any(same(key, name, memory) for key in wanted.gpus) for name, memory, _ in cards)
        ordered = " or ".join(gpus.gpu(key).name for key in wanted.gpus)
        seen = ", ".join(f"{name} with {memory} MiB" for name, memory in sorted({(c[0], c[1]) for c in cards}))
        checks.append(Check("GPU", fits, f"{seen}, ordered {ordered}" if not fits else ", ".join(names)))
    return checks


def same(key: str, name: str, memory: str) -> bool:
    """Whether the driver's name and MiB are those of a row of the table. RunPod names GPUs as the driver does."""
    row = gpus.gpu(key)
    known = {each.lower() for each in (row.name, row.providers.runpod) if each}
    if name.lower() not in known or not memory.isdigit():
        return False
    return abs(int(memory) - row.memory_mib) <= MEMORY_DIFFERS * row.memory_mib


def _driver(facts: Mapping[str, str], wanted: Wanted) -> Check:
    """An image of a newer CUDA does not start there (providers.md 3.8: a driver of CUDA 12.2 was seen)."""
    driver = next((value.rpartition(",")[2].strip() for name, value in facts.items() if name.startswith("gpu.")), "")
    cuda = facts.get("cuda", "")
    if not wanted.cuda:
        return Check("driver", True, f"{driver or 'unknown'}, CUDA {cuda or 'unknown'}; the image asks for nothing")
    if not re.fullmatch(r"\d+\.\d+", cuda):
        return Check("driver", None, "nvidia-smi does not tell its CUDA version")
    words = f"driver {driver} takes CUDA {cuda}, the image needs {wanted.cuda}"
    return Check("driver", numbers(cuda) >= numbers(wanted.cuda), words)


def numbers(version: str) -> tuple[int, ...]:
    """'12.9' -> (12, 9), so that 12.10 is newer."""
    return tuple(int(part) for part in version.split("."))


def _room(facts: Mapping[str, str], wanted: Wanted) -> list[Check]:
    """Free disk where Docker keeps images, and where the volume will be; both together when that is one disk. An image
    that is there already has taken its part."""
    image = 0 if facts.get("image") == "yes" else wanted.disk_gb
    needs = {"disk": image, "volume": wanted.volume_gb}
    places = {"disk": facts.get("root", "/var/lib/docker"), "volume": wanted.mount}
    if facts.get("disk.on") == facts.get("volume.on"):
        needs = {"disk": image + wanted.volume_gb}
    rows = []
    for name, need in needs.items():
        free = facts.get(f"{name}.free", "")
        if not free.isdigit():
            rows.append(Check(name, None if need else True, f"nobody knows how much is free at {places[name]}"))
            continue
        there = int(free) * 1024 / GB
        rows.append(Check(name, there >= need, f"{there:.0f} GB free at {places[name]}, {need} GB needed"))
    return rows


def _system(facts: Mapping[str, str]) -> Check:
    """What is missing can be put there only where we know how."""
    parts, known = missing(facts), facts.get("like", "").split()
    there = ", ".join(filter(None, (facts.get("os"), facts.get("arch")))) or "unknown"
    if not parts:
        return Check("Docker", True, f"Docker {facts.get('engine')} with NVIDIA's toolkit, {there}")
    able = any(name in APT for name in known)
    words = f"{' and '.join(part for part in parts if part != 'runtime')} missing, on {there}"
    return Check("Docker", able, words if able else f"{words}: only Debian and Ubuntu can be made ready")
