"""What the container says of itself against what was locked. Pure: a report in, findings out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from images.checks.expected import Expected
from images.checks.finding import Finding
from images.plan import HOME
from profiles.bases import numbers

Report = Mapping[str, Any]


def compare(expected: Expected, inside: Report, gpus: bool) -> list[Finding]:
    """Every check of the environment. inside: what inside.py printed; gpus: the container was given GPUs."""
    environment = inside["environment"]
    if "problem" in environment:
        return [Finding("environment", False, f"the trainer gives no report: {environment['problem']}")]
    found = [*python(expected, environment), *base_versions(expected, environment)]
    found += [*imports(environment), *wheels(expected, inside), *places(expected, inside)]
    if gpus:
        found += [*driver(expected, environment), *devices(expected, environment)]
    return found


def python(expected: Expected, environment: Report) -> Iterator[Finding]:
    if expected.python is None:
        return
    have = environment["python"]
    same = numbers(have)[:2] == numbers(expected.python)[:2]
    yield Finding("python", same, have if same else f"{have} in the image, the plan says {expected.python}")


def base_versions(expected: Expected, environment: Report) -> Iterator[Finding]:
    """The base's own libraries against the facts in the lock; what is not known of a base is not compared."""
    libraries, torch = environment["libraries"], environment["torch"] or {}
    asked: list[tuple[str, Any, Callable[[str, str], bool]]] = [
        ("torch", (libraries.get("torch") or {}).get("version"), same_build),
        ("transformer_engine", (libraries.get("transformer_engine") or {}).get("version"), same_build),
        ("cuda", torch.get("cuda"), lambda fact, have: numbers(fact)[:2] == numbers(have)[:2]),
        ("cudnn", cudnn(torch.get("cudnn")), same_release),
        ("nccl", torch.get("nccl"), same_release),
    ]
    for name, have, same in asked:
        fact = expected.facts.get(name)
        if fact.value is None:
            continue
        if have is not None and same(fact.value, have):
            yield Finding(name, True, have)
        else:
            detail = f"{have or 'none'} in the image, the lock says {fact}"
            yield Finding(name, False if fact.sure else None, detail)


def same_build(fact: str, have: str) -> bool:
    """Whether two spellings mean one build: '2.14.0a0+4fdf77b' of the config, '2.14.0a0+4fdf77b940.nv26.8.63' of pip.

    The public parts must agree (a fact may leave out trailing parts: '2.4' for '2.4.0'), and of the local parts one
    commit must begin with the other. `==` of PEP 440 would say no to all of NVIDIA's builds.
    """
    public_fact, _, local_fact = fact.partition("+")
    public_have, _, local_have = have.partition("+")
    if not same_release(public_fact, public_have) or prerelease(public_fact) != prerelease(public_have):
        return False
    commit, other = (re.split(r"[._-]", text.lower())[0] for text in (local_fact, local_have))
    if not commit:
        return True
    return bool(other) and (other.startswith(commit) or commit.startswith(other))


def same_release(fact: str, have: str) -> bool:
    """Whether the leading numbers agree as far as both go: '9.10.2.21' and '9.10.2'. At least two must."""
    first, second = numbers(fact), numbers(have)
    shared = min(len(first), len(second))
    return shared >= 2 and first[:shared] == second[:shared]


def prerelease(public: str) -> str:
    """'a0' of '2.5.0a0', '' of a release."""
    found = re.search(r"(a|b|rc|\.?dev)\d+", public.lower())
    return found[0] if found else ""


def cudnn(number: int | None) -> str | None:
    """torch's number as a version: 91002 is 9.10.2, 8902 is 8.9.2 (cudnn_version.h: CUDNN_VERSION)."""
    if not number:
        return None
    unit = 10000 if number >= 90000 else 1000
    return f"{number // unit}.{number % unit // 100}.{number % 100}"


def imports(environment: Report) -> Iterator[Finding]:
    """A library whose ABI does not fit torch's says so only when it is imported."""
    present = {name: entry.get("imports") for name, entry in environment["libraries"].items() if entry}
    broken = [f"{name}: {answer}" for name, answer in present.items() if answer is not True]
    torch = environment["torch"]
    if torch is None or "problem" in torch:
        broken.append(f"torch: {torch['problem'] if torch else 'not in the image'}")
    yield Finding("imports", not broken, "; ".join(broken) or ", ".join(present))


def wheels(expected: Expected, inside: Report) -> Iterator[Finding]:
    """The locked wheels, as importlib.metadata finds them."""
    if not expected.wheels:
        return
    wrong = []
    for name, version in sorted(expected.wheels.items()):
        found = inside["distributions"].get(name)
        if found is None:
            wrong.append(f"{name} is not there")
        elif found["version"] != version:
            wrong.append(f"{name} is {found['version']} (from {found['folder']}), locked is {version}")
    yield Finding("wheels", not wrong, "; ".join(wrong) or f"{len(expected.wheels)} as locked")


def places(expected: Expected, inside: Report) -> Iterator[Finding]:
    """Nothing of ours stands before the base's: NVIDIA compiled its packages against each other."""
    wrong = [f"{name}: {folders[0]} before {folders[1]}" for name, folders in sorted(inside["shadowed"].items())]
    for name in ("torch", "transformer_engine", "flash_attn"):
        where = inside["modules"].get(name)
        if expected.facts.get(name).value and where and where.startswith(f"/{HOME}/"):
            wrong.append(f"{name} comes from {where}, not from the base")
    yield Finding("shadowing", not wrong, "; ".join(wrong) or "nothing of ours stands before the base's modules")
    if inside["hidden"]:
        yield Finding(
            "hidden", None, f"the base's own are taken instead of ours: {', '.join(sorted(inside['hidden']))}"
        )


def driver(expected: Expected, environment: Report) -> Iterator[Finding]:
    """The host's driver against the floor of the base's CUDA."""
    found = environment["driver"]
    version = found["version"] or (str(found["branch"]) if found["branch"] else None)
    if version is None or found["cuda"] is None:
        yield Finding("driver", False, f"no NVIDIA driver answers in the container: {found['problem']}")
    elif expected.floor is None:
        yield Finding("driver", None, f"{version}; the base's CUDA is not known, so neither is its floor")
    else:
        fits = expected.floor.accepts(version)
        yield Finding("driver", fits, version if fits else f"{version}, the base needs {expected.floor}")


def devices(expected: Expected, environment: Report) -> Iterator[Finding]:
    """The GPUs that torch sees. Another kind than the profile's is a note: smoke runs on what there is."""
    found = (environment["torch"] or {}).get("gpus") or []
    if not found:
        yield Finding("gpus", False, "torch sees none")
        return
    names = sorted({f"{one['name']} ({one['compute_capability']})" for one in found})
    detail = f"{len(found)} x {', '.join(names)}"
    if expected.gpu is None:
        yield Finding("gpus", True, detail)
        return
    from profiles import gpus

    kind, count = expected.gpu
    made_for = gpus.gpu(kind).cc if kind in gpus.names() else None
    same = len(found) >= count and {one["compute_capability"] for one in found} == {made_for}
    yield Finding("gpus", True if same else None, detail if same else f"{detail}; the profile is for {count} x {kind}")
