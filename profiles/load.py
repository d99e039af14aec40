"""From a profile's name or path to a checked Profile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from profiles.document import Document, merge, read, shorten
from profiles.errors import WrongInput
from profiles.locations import PROFILES, SHARED
from profiles.nearest import nearest

if TYPE_CHECKING:
    from profiles.schema import Profile

# Sections a file may leave out, written out: as defaults they would cost a validator each, 20 ms in all.
SECTIONS: dict[str, Any] = {
    **{name: {} for name in ("parallelism", "python", "system", "ulimits")},
    "providers": {"runpod": {}, "vast": {}, "hyperbolic": {}},
}
OWN_KEYS = ("extends", "abstract")  # read by the loader, not part of a Profile


def load(name_or_path: str, *, base_tag: str | None = None, folder: Path | None = None) -> Profile:
    """The profile, `extends` resolved, validated and checked against its GPU and base.

    name_or_path: a name in `folder` (default: the shipped profiles), or a path to a YAML file. base_tag: takes the
    place of the base image's tag, all checks are made with it.
    Raises WrongInput: unknown name, YAML error, unknown key, wrong value, impossible combination.
    """
    from profiles import checks

    profile = parse(name_or_path, folder=folder)
    if base_tag is not None:
        profile = with_base_tag(profile, base_tag)
    checks.check(profile)
    return profile


def parse(name_or_path: str, *, folder: Path | None = None) -> Profile:
    """The profile as written: validated, but not checked against GPU and base. Raises WrongInput."""
    path = find(name_or_path, folder)
    document = chain(path)
    if document.values.get("abstract") is True:
        raise WrongInput(
            f"profile `{path.stem}` is only there to be extended", "write `extends:` in a profile of yours"
        )
    values = {key: value for key, value in document.values.items() if key not in OWN_KEYS}
    return validate(named(path), Document(values, document.places))


def names(folder: Path | None = None) -> list[str]:
    """Names of the profiles in `folder` that can be built, sorted. Unreadable files are listed too: load says why."""
    return sorted(path.stem for path in listed(folder or PROFILES) if not is_abstract(path))


def listed(folder: Path) -> Iterator[Path]:
    """The YAML files of a folder."""
    return (path for path in folder.glob("*.y*ml") if path.suffix in (".yaml", ".yml"))


def is_abstract(path: Path) -> bool:
    """Whether the file says `abstract: true`."""
    try:
        return read(path).values.get("abstract") is True
    except WrongInput:
        return False


def find(name_or_path: str, folder: Path | None = None) -> Path:
    """The profile's file. Raises WrongInput, naming the nearest profile."""
    if "/" in name_or_path or name_or_path.endswith((".yaml", ".yml")):
        path = Path(name_or_path)
        if not path.is_file():
            raise WrongInput(f"no profile file {name_or_path}", "check the path, or name one of the shipped profiles")
        return path
    home = folder or PROFILES
    for ending in (".yaml", ".yml"):
        if (home / f"{name_or_path}{ending}").is_file():
            return home / f"{name_or_path}{ending}"
    known = names(folder)
    near = nearest(name_or_path, known)
    raise WrongInput(
        f"unknown profile `{name_or_path}`",
        f"did you mean `{near}`?" if near else f"choose one of: {', '.join(known) or '(none)'}",
    )


def chain(path: Path) -> Document:
    """The file with all it extends under it. Raises WrongInput, also for a circle."""
    documents: list[Document] = []
    seen: list[Path] = []
    place = ""
    while True:
        if path.resolve() in seen:
            circle = " -> ".join(shorten(step) for step in [*seen, path.resolve()])
            raise WrongInput(f"{place}: `extends` goes in a circle: {circle}", "take one `extends:` out")
        seen.append(path.resolve())
        document = read(path)
        # `abstract` speaks of the file it stands in, so it is not handed on to those who extend it.
        documents.append(without(document, "abstract") if documents else document)
        parent = document.values.get("extends")
        if parent is None:
            break
        place = str(document.place(("extends",)))
        path = extended(parent, path.parent, place)
    merged = documents.pop()
    while documents:
        merged = merged.under(documents.pop())
    return merged


def without(document: Document, key: str) -> Document:
    """The document without one top-level key."""
    return Document({name: value for name, value in document.values.items() if name != key}, document.places)


def extended(parent: Any, beside: Path, place: str) -> Path:
    """The file that `extends: parent` names: a path, or a name beside the file, in `shared/`, or shipped."""
    if not isinstance(parent, str) or not parent:
        raise WrongInput(f"{place}: `extends` is one profile's name or path", "write it like `extends: gpu`")
    if "/" in parent or parent.endswith((".yaml", ".yml")):
        found = beside / parent
        if found.is_file():
            return found
        raise WrongInput(f"{place}: no file {shorten(found)} to extend", "paths are relative to the file they stand in")
    folders = [beside, beside / SHARED, PROFILES, PROFILES / SHARED]
    for folder in folders:
        if (folder / f"{parent}.yaml").is_file():
            return folder / f"{parent}.yaml"
    near = nearest(parent, [path.stem for folder in folders for path in listed(folder)])
    raise WrongInput(
        f"{place}: unknown profile `{parent}` to extend",
        f"did you mean `{near}`?" if near else "name a profile of this folder, of shared/, or a shipped one",
    )


def named(path: Path) -> str:
    """The profile's name: its file's, which becomes a part of tags. Raises WrongInput when it cannot."""
    import re

    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", path.stem):
        return path.stem
    near = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("._-")
    raise WrongInput(
        f"{shorten(path)}: `{path.stem}` cannot be a part of a tag, and a profile's name is",
        f"rename the file: {near}{path.suffix}" if near else "rename the file to letters, digits and . _ -",
    )


def validate(name: str, document: Document) -> Profile:
    """The document as a Profile. Raises WrongInput at the first wrong key."""
    from pydantic import ValidationError

    from profiles.schema import Profile

    if "name" in document.values:
        raise WrongInput(
            f"{document.place(('name',))}: unknown key `name`", "the file's name is the profile's name: rename the file"
        )
    try:
        return Profile.model_validate({**merge(SECTIONS, document.values), "name": name})
    except ValidationError as error:
        from profiles.complaint import complaint

        raise complaint(error, document) from None


def with_base_tag(profile: Profile, tag: str) -> Profile:
    """The profile on another tag of its base's repository. Raises WrongInput."""
    import re

    if profile.base.image is None:
        raise WrongInput(
            f"profile `{profile.name}` is built on {profile.base.name}, which has no tags", "leave --base-tag out"
        )
    if not re.fullmatch(r"\w[\w.-]{0,127}", tag):
        raise WrongInput(f"`{tag}` is no tag", "write it like --base-tag 25.06-py3")
    base = profile.base.model_copy(update={"image": f"{profile.base.repository}:{tag}"})
    return profile.model_copy(update={"base": base})
