"""Which files make one checkpoint of DeepSpeed's, and whether they are all there.

`engine.save_checkpoint(folder, tag)` writes folder/TAG/ and then folder/latest, the tag as text (runtime/engine.py).
In TAG/: mp_rank_00_model_states.pt, or zero_pp_rank_R_mp_rank_00_model_states.pt of every rank R at stage 3; and from
stage 1 on [bf16_]zero_pp_rank_R_mp_rank_00_optim_states.pt of every rank. ds_to_universal makes TAG/zero/PARAMETER/ of
them and names it in latest_universal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from trainer.errors import OUTSIDE_FAILED, TrainerError

LATEST = ("latest", "latest_universal")
FILE = re.compile(r"((?:bf16_|fp16_)?zero_pp_rank_(\d+)_)?mp_rank_(\d+)_(model|optim)_states\.pt\Z")
OTHERS = re.compile(r"(layer_\d+.*|expp_rank_\d+.*|.*expert_\d+.*)(model|optim)_states\.pt\Z")
UNIVERSAL = "zero"
HINT = "copy the folder again from where it was written, or name another with --tag"


@dataclass(frozen=True)
class Files:
    """One checkpoint. models, optimizers: by rank, from 0; one model file below stage 3, no optimizers at stage 0.
    universal: the folder of one folder per parameter, or None."""

    folder: Path
    models: tuple[Path, ...]
    optimizers: tuple[Path, ...]
    universal: Path | None

    @property
    def tag(self) -> str:
        """The checkpoint's name."""
        return self.folder.name


def find(folder: Path, tag: str | None) -> Files:
    """The files of `tag`, or of the tag that `latest` names; `folder` may be a tag's own.

    Raises TrainerError where there is none, where files are missing, and for model, pipeline and expert parallelism.
    """
    place = _tagged(folder, tag)
    universal = place / UNIVERSAL if (place / UNIVERSAL).is_dir() else None
    names = sorted(path.name for path in place.iterdir())
    odd = next((name for name in names if OTHERS.match(name)), None)
    if odd is not None:
        raise TrainerError(
            f"{place} is of a pipeline or of experts ({odd}); only data parallel ones are understood",
            "give a checkpoint of ZeRO stages 0 to 3 without them",
        )
    found: dict[str, dict[int, str]] = {"model": {}, "optim": {}}
    for name in names:
        match = FILE.match(name)
        if match is None:
            continue
        if int(match[3]) > 0 and universal is not None:
            continue  # of the model it was made of; the parameters in zero/ are whole
        if int(match[3]) > 0:
            raise TrainerError(
                f"{place} is of a model cut over several ranks ({name}); only data parallel ones are understood",
                "make a universal checkpoint of it with DeepSpeed's ds_to_universal, and give that",
            )
        rank = int(match[2] or 0)
        before = found[match[4]].setdefault(rank, name)
        if before != name:
            raise TrainerError(f"{place} has both {before} and {name}: two saves in one folder", HINT, OUTSIDE_FAILED)
    models, optimizers = (_ordered(place, found[kind], kind) for kind in ("model", "optim"))
    if not models:
        raise TrainerError(f"{place} has no file ..._model_states.pt", HINT, OUTSIDE_FAILED)
    return Files(place, models, optimizers, universal)


def complete(files: Files, ranks: int) -> None:
    """Raises TrainerError unless every one of `ranks` ranks has its optimizer file, and its model file if any but rank
    0's has one."""
    for title, those in (("optim", files.optimizers), ("model", files.models)):
        if title == "model" and len(those) == 1:
            continue
        if len(those) < ranks:
            raise TrainerError(
                f"{files.folder} lacks the {title}_states file of rank {len(those)}; {ranks} ranks wrote it",
                HINT,
                OUTSIDE_FAILED,
            )
        if len(those) > ranks:
            what = f"{files.folder} has {title}_states files of {len(those)} ranks, but {ranks} wrote it"
            raise TrainerError(f"{what}: two saves in one folder", HINT, OUTSIDE_FAILED)


def _tagged(folder: Path, tag: str | None) -> Path:
    if not folder.is_dir():
        raise TrainerError(
            f"no DeepSpeed checkpoint at {folder}: no such folder", "give what save_checkpoint was given"
        )
    there = ", ".join(sorted(path.parent.name for path in folder.glob("*/*mp_rank_00_model_states.pt"))[:20])
    if tag is not None:
        if "/" in tag or not (folder / tag).is_dir():
            raise TrainerError(f"{folder} has no checkpoint {tag}", f"there are: {there or 'none'}")
        return folder / tag
    if any(FILE.match(path.name) for path in folder.iterdir()):
        return folder
    for pointer in LATEST:
        if not (folder / pointer).is_file():
            continue
        name = (folder / pointer).read_bytes()[:4096].decode("utf-8", "replace").strip()
        if not name or "/" in name or not (folder / name).is_dir():
            hint = f"name one with --tag; there are: {there or 'none'}"
            raise TrainerError(f"{folder / pointer} names {name!r}, which is not there", hint, OUTSIDE_FAILED)
        return folder / name
    hint = f"name one with --tag; there are: {there}" if there else "give what save_checkpoint was given"
    raise TrainerError(f"no DeepSpeed checkpoint at {folder}: it has no file latest", hint)


def _ordered(place: Path, names: dict[int, str], kind: str) -> tuple[Path, ...]:
    missing = next((rank for rank in range(len(names)) if rank not in names), None)
    if missing is not None:
        raise TrainerError(f"{place} lacks the {kind}_states file of rank {missing}", HINT, OUTSIDE_FAILED)
    return tuple(place / names[rank] for rank in range(len(names)))
