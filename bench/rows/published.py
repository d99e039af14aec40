"""Published measurements (tests/data/throughput_public.csv) as rows, and each as the Setup the planner is asked about.

What a row leaves out is the convention of the program that was measured (bench/rows/programs.py), never a choice made
for that row.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench.rows.cards import gpu_of
from bench.rows.cells import columns, number, whole
from bench.rows.cut import Cut, cut_of
from bench.rows.programs import Program, program_of
from fleet.capacity.count import count
from fleet.capacity.families import MPT_SIZES, mpt, nanochat
from fleet.capacity.models import model, plain
from fleet.capacity.setup import Setup
from fleet.capacity.shape import Shape
from profiles.errors import WrongInput
from profiles.gpus import Gpu

Value = TypeVar("Value")

PUBLIC = Path(__file__).resolve().parents[2] / "tests" / "data" / "throughput_public.csv"
UNITS = {"": 2**30, "gib": 2**30, "gb": 10**9, "mib": 2**20, "mb": 10**6}
COLUMNS = (
    *("model", "params", "layers", "d_model", "seq_len", "vocab", "gpu", "n_gpus", "precision"),
    *("zero_stage_or_parallelism", "micro_batch", "tokens_per_sec_per_gpu", "mfu", "peak_mem_gb", "peak_mem_unit"),
)
NANOCHAT_VOCABS = (32768, 65536)  # of its tokenizer since 2026, and before (recalled: scripts/tok_train.py)
NEAR = 0.03  # published counts are rounded, and count a few thousand scalars


@dataclass(frozen=True, slots=True)
class Published:
    """One row. memory: bytes; out_of_memory: it did not fit, then memory is None. mfu: a share, not percent.

    unread: what could not be read of it, empty: nothing.
    """

    source: str
    model: str
    params: int | None
    layers: int | None
    width: int | None
    length: int | None
    vocab: int | None
    gpu: str
    gpus: int
    precision: str
    parallelism: str
    micro_batch: int | None
    tokens_per_second: float | None
    mfu: float | None
    memory: float | None
    out_of_memory: bool
    notes: str
    unread: str = ""

    @property
    def kind(self) -> str:
        """What it has in common with rows of the same program: the repository's name."""
        return self.source.split(":")[0].rsplit("/", 1)[-1]


def published(path: Path = PUBLIC) -> list[Published]:
    """All rows of a file with these columns, in its order. Raises WrongInput for a file without them."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        columns(path.name, reader.fieldnames, COLUMNS)
        return [_row({key: value or "" for key, value in fields.items() if key}) for fields in reader]


def setup_of(row: Published) -> Setup | str:
    """What was trained and how; a sentence where the row does not say enough or the planner has no word for it."""
    if row.unread:
        return row.unread
    try:
        if re.search(r"\bmoe\b|\ba\d+(\.\d+)?b\b|\d+x\d+b", row.model.lower()) or re.search(r"\bEP\d", row.parallelism):
            return "a mixture of experts is not modelled"
        program = program_of(row.source)
        card = gpu_of(row.gpu)
        cut = cut_of(row.parallelism, row.gpus)
        shape = program.as_built(shape_of(row, program))
        micro_batch = row.micro_batch or program.micro_batch
        if not micro_batch:
            return "the micro-batch is not published"
        if not (row.length or program.length):
            return "the sequence length is not published"
        return _setup(row, program, card, cut, shape, micro_batch)
    except WrongInput as error:
        return error.what


def precision_of(text: str, usual: str = "bf16") -> str:
    """'amp_bf16' -> bf16, 'amp_fp8' -> fp8-delayed (Transformer Engine's recipe), 'fp8 rowwise' -> fp8-rowwise,
    'fp8 (float8 linear)', 'fp8 tensorwise' -> fp8-current. Raises WrongInput for one the planner has no word for."""
    said = text.lower()
    if not said:
        return usual
    if "mxfp8" in said:
        return "mxfp8"
    if "fp8" in said or "float8" in said:
        if "row" in said:
            return "fp8-rowwise"
        return "fp8-delayed" if "amp" in said or "delayed" in said else "fp8-current"
    for known in ("bf16", "fp16", "tf32", "fp32"):
        if known in said:
            return known
    raise WrongInput(f"the precision `{text}` is not modelled", "known are bf16, fp16, tf32, fp32 and the fp8 recipes")


def shape_of(row: Published, program: Program) -> Shape:
    """The model by name; MPT and nanochat by the row's own dimensions. Raises WrongInput."""
    key = plain(row.model)
    depth = re.search(r"\bd(\d{1,3})\b", key)
    if "nanochat" in key or (depth and program.engine == "nanochat"):
        return _nanochat(row, row.layers or (int(depth[1]) if depth else 0), row.length or program.length or 2048)
    if key.startswith("mpt-"):
        return _mpt(row, key.removeprefix("mpt-"))
    return model(re.sub(r"-\(.*\)$", "", key))


def _nanochat(row: Published, layers: int, length: int) -> Shape:
    """Today's variant, or the one whose parameters the row has: value embeddings and windows came together."""
    if not layers:
        raise WrongInput(f"{row.model}: its depth is not published", "give layers, or its name with d12, d20, ...")
    vocabs = (row.vocab,) if row.vocab else NANOCHAT_VOCABS
    variants = [nanochat(layers, vocab, new, context=length, windows=new) for new in (True, False) for vocab in vocabs]
    if row.params is None:
        return variants[0]
    published = row.params
    nearest = min(variants, key=lambda shape: abs(count(shape).total - published))
    if abs(count(nearest).total / published - 1) > NEAR:
        known = ", ".join(f"{count(shape).total:,}" for shape in variants)
        raise WrongInput(f"{row.model}: {published:,} parameters are none of its variants ({known})", "correct the row")
    return nearest


def _mpt(row: Published, size: str) -> Shape:
    layers, width, heads = MPT_SIZES.get(size, (0, 0, 0))
    if row.layers and row.width and (row.layers, row.width) != (layers, width):
        layers, width, heads = row.layers, row.width, max(1, row.width // 128)
    if not layers or not row.length:
        raise WrongInput(f"{row.model}: its dimensions are not published", "give layers, d_model and seq_len")
    return mpt(layers, width, heads, row.length, *([row.vocab] if row.vocab else []), name=f"mpt-{size}")


def _setup(row: Published, program: Program, card: Gpu, cut: Cut, shape: Shape, local: int) -> Setup:
    """`local`: sequences of one data-parallel rank and step, as reported; a pipeline splits them into as many
    micro-batches as it has stages (torchtitan's default of 2024)."""
    length = row.length or program.length
    micro_batch = max(1, local // cut.pipeline)
    full = (
        shape.name if cut.adapter is None else ""
    )  # the recipes that differ in their batch are those of full training
    ranks = max(1, row.gpus // (cut.tensor * cut.context * cut.pipeline))
    return Setup(
        shape=shape,
        gpu=card,
        gpus=row.gpus,
        length=length,
        micro_batch=micro_batch,
        accumulation=local // micro_batch if cut.pipeline > 1 else program.accumulation_of(full, ranks * local, length),
        precision=precision_of(row.precision),
        engine=program.engine_of(cut),
        zero=program.zero_of(cut, row.gpus),
        checkpointing=program.checkpointing_of(cut, row.gpus),
        optimizer=program.optimizer_of(cut, row.gpus),
        loss_chunk=program.loss_chunk,
        attention=program.attention,
        compile=program.compile if cut.compile is None else cut.compile,
        link="nvlink" if card.nvlink_gbs else "pcie",
        tensor=cut.tensor,
        context_parallel=cut.context,
        pipeline=cut.pipeline,
        adapter=program.adapter_of(cut, shape.name, row.gpus),
    )


def _row(fields: dict[str, str]) -> Published:
    unread: list[str] = []

    def read(column: str, as_what: Callable[[str], Value]) -> Value | None:
        try:
            return as_what(fields[column])
        except WrongInput as error:
            unread.append(f"{column}: {error.what}")
            return None

    mfu = read("mfu", number)
    full = fields["peak_mem_gb"].strip().upper().startswith(("OOM", "OUT OF MEMORY"))
    unit = read("peak_mem_unit", _unit)
    memory = None if full else read("peak_mem_gb", number)
    return Published(
        source=next((value for key, value in fields.items() if key.startswith("source")), ""),
        model=fields["model"].strip(),
        params=read("params", whole),
        layers=read("layers", whole),
        width=read("d_model", whole),
        length=read("seq_len", whole),
        vocab=read("vocab", whole),
        gpu=fields["gpu"].strip(),
        gpus=read("n_gpus", whole) or 1,
        precision=fields["precision"].strip(),
        parallelism=fields["zero_stage_or_parallelism"].strip(),
        micro_batch=read("micro_batch", whole),
        tokens_per_second=read("tokens_per_sec_per_gpu", number),
        mfu=None if mfu is None else mfu / 100,
        memory=None if memory is None or unit is None else memory * unit,
        out_of_memory=full,
        notes=fields.get("notes", "").strip(),
        unread="; ".join(unread),
    )


def _unit(text: str) -> int:
    """Bytes; GiB where the row does not say, as torch prints it."""
    said = text.split()[0].lower() if text.split() else ""
    if said not in UNITS:
        raise WrongInput(f"`{text}` is no unit of memory", "use GB or GiB")
    return UNITS[said]
