"""What there is to prepare: files of a folder, of a glob, or named; and data sets of Hugging Face."""

from __future__ import annotations

import difflib
import glob
from dataclasses import dataclass
from pathlib import Path

from trainer.errors import TrainerError

COMPRESSED = (".gz", ".xz", ".zst", ".bz2")
FORMS = {
    **dict.fromkeys((".txt", ".text", ".md"), "text"),
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "jsonl"),
    ".parquet": "parquet",
}
HUB = "hf-dataset:"


@dataclass(frozen=True)
class Source:
    """form: text, jsonl, parquet or hub. path: the file (hub: what stands after `hf-dataset:`). name: relative to what
    was given, so that the same corpus elsewhere is the same corpus. size: bytes on disk, 0 when not known."""

    form: str
    path: str
    name: str
    size: int = 0
    changed: int = 0  # mtime in ns: a journal of other content must not be gone on with


def find(given: list[str], form: str = "auto") -> tuple[list[Source], list[str]]:
    """The sources in the order in which they are read (as given; inside a folder or glob by name), and the files in
    folders that no form fits.

    form: text, jsonl or parquet for every file, auto by the name's end (an unknown end is text when the file itself was
    named). Raises TrainerError for what is not there, and when nothing is left.
    """
    found: list[Source] = []
    left: list[str] = []
    for one in given:
        if one.startswith(HUB):
            rest = one.removeprefix(HUB)
            found.append(Source("hub", rest, Path(rest.partition(":")[0]).name))
            continue
        path = Path(one).expanduser()
        if path.is_dir():
            _folder(path, form, found, left)
        elif path.is_file():
            found.append(_file(path, path.name, form if form != "auto" else form_of(path) or "text"))
        elif glob.has_magic(one):
            _glob(path, one, form, found)
        else:
            raise _missing(path, one)
    if not found:
        hint = f"known: {', '.join(sorted(FORMS))} and these with {', '.join(COMPRESSED)}; or say --format"
        raise TrainerError(f"no corpus in {', '.join(given) or 'nothing'}", hint)
    return found, left


def form_of(path: Path) -> str | None:
    """By the end of the name, without that of a compression."""
    name = path.name.lower()
    for end in COMPRESSED:
        name = name.removesuffix(end)
    return FORMS.get(Path(name).suffix)


def _folder(folder: Path, form: str, found: list[Source], left: list[str]) -> None:
    for path in sorted(folder.rglob("*"), key=lambda one: one.relative_to(folder).parts):
        name = path.relative_to(folder)
        if any(part.startswith((".", "__")) for part in name.parts) or not path.is_file():
            continue
        fits = form if form != "auto" else form_of(path)
        if fits is None:
            left.append(str(path))
        else:
            found.append(_file(path, name.as_posix(), fits))


def _glob(path: Path, given: str, form: str, found: list[Source]) -> None:
    names = sorted(one for one in glob.glob(str(path), recursive=True) if Path(one).is_file())
    if not names:
        raise TrainerError(f"no file is like {given}", "look at the pattern; quote it so that ** works in any shell")
    for name in names:
        found.append(_file(Path(name), Path(name).name, form if form != "auto" else form_of(Path(name)) or "text"))


def _file(path: Path, name: str, form: str) -> Source:
    try:
        told = path.stat()
        path.open("rb").close()
    except OSError as error:
        raise TrainerError(f"cannot read {path}: {error.strerror}", "make it readable or leave it out") from None
    return Source(form, str(path), name, told.st_size, told.st_mtime_ns)


def _missing(path: Path, given: str) -> TrainerError:
    beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, 1, 0.6)
    if near:
        return TrainerError(f"there is no {given}", f"did you mean {path.parent / near[0]}?")
    hint = f"a data set of the Hub is {HUB}{given}" if given.count("/") == 1 else "give files, folders or globs"
    return TrainerError(f"there is no {given}", hint)
