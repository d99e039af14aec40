"""Published measurements (tests/data/throughput_public.csv) as rows, and each as the Setup the planner is asked about.

What a row leaves out is the convention of the program that was measured (bench/rows/programs.py), never a choice made
for that row.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from bench.rows.cut import Cut, cut_of
from bench.rows.programs import Program, program_of
from fleet.capacity.families import MPT_SIZES, mpt, nanochat
from fleet.capacity.models import model, plain
from fleet.capacity.setup import Setup
from fleet.capacity.shape import Shape
from profiles.errors import WrongInput
from profiles.gpus import Gpu, gpu

PUBLIC = Path(__file__).resolve().parents[2] / "tests" / "data" / "throughput_public.csv"
UNITS = {"GiB": 2**30, "GB": 10**9}
GPUS = (  # the first that is found in the name, as published, wins
    (r"H100.*\bNVL|H100 94 ?GB", "h100-nvl"),
    (r"H100.*PCIE", "h100-pcie"),
    (r"H100 96 ?GB|H100.*HBM2E", "h100-96-sxm"),
    (r"(?<!G)H100", "h100-sxm"),
    (r"H200.*\bNVL", "h200-nvl"),
    (r"(?<!G)H200", "h200-sxm"),
    (r"A100.*40 ?GB.*PCIE|A100.*PCIE.*40 ?GB", "a100-40-pcie"),
    (r"A100.*40 ?GB", "a100-40-sxm"),
    (r"A100.*PCIE", "a100-80-pcie"),
    (r"A100", "a100-80-sxm"),
    (r"\bA10G\b", "a10g"),
    (r"\bA6000\b", "rtx-a6000"),
    (r"6000 ADA", "rtx6000-ada"),
    (r"PRO 6000", "rtx-pro-6000"),
    (r"\b3090\b", "rtx3090"),
    (r"\b4090\b", "rtx4090"),
    (r"\b5090\b", "rtx5090"),
    (r"\bA40\b", "a40"),
    (r"\bL40S\b", "l40s"),
    (r"\bL4\b", "l4"),
    (r"(?<!G)B200", "b200"),
    (r"(?<!G)B300", "b300"),
)


@dataclass(frozen=True, slots=True)
class Published:
    """One row. memory: bytes; out_of_memory: it did not fit, then memory is None. mfu: a share, not percent."""

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

    @property
    def kind(self) -> str:
        """What it has in common with rows of the same program: the repository's name."""
        return self.source.split(":")[0].rsplit("/", 1)[-1]


def published(path: Path = PUBLIC) -> list[Published]:
    """All rows of a file with these columns, in its order."""
    with path.open(newline="", encoding="utf-8") as file:
        return [_row(fields) for fields in csv.DictReader(file)]


def setup_of(row: Published) -> Setup | str:
    """What was trained and how; a sentence where the row does not say enough or the planner has no word for it."""
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
        return _setup(row, program, card, cut, shape, micro_batch)
    except WrongInput as error:
        return error.what


def gpu_of(name: str) -> Gpu:
    """The GPU of a published name ('H100 80GB', 'DGX-H100', 'RTX A6000 48GB'). Raises WrongInput for one we lack."""
    for pattern, key in GPUS:
        if re.search(pattern, name.upper()):
            return gpu(key)
    raise WrongInput(f"the GPU `{name}` is not in the table", "add it to profiles/tables/gpus.yaml")


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
    if "nanochat" in key and (depth or row.layers):
        layers = row.layers or int(depth[1]) if depth else row.layers
        length = row.length or program.length or 2048
        return nanochat(int(layers or 0), row.vocab or 32768, context=length, windows=True)
    if key.startswith("mpt-"):
        return _mpt(row, key.removeprefix("mpt-"))
    return model(re.sub(r"-\(.*\)$", "", key))


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
    length = row.length or program.length or shape.context
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
    memory = fields["peak_mem_gb"].strip()
    unit = next((size for name, size in UNITS.items() if fields["peak_mem_unit"].startswith(name)), 2**30)
    mfu = _number(fields["mfu"])
    return Published(
        source=next(value for key, value in fields.items() if key.startswith("source")),
        model=fields["model"].strip(),
        params=_whole(fields["params"]),
        layers=_whole(fields["layers"]),
        width=_whole(fields["d_model"]),
        length=_whole(fields["seq_len"]),
        vocab=_whole(fields["vocab"]),
        gpu=fields["gpu"].strip(),
        gpus=_whole(fields["n_gpus"]) or 1,
        precision=fields["precision"].strip(),
        parallelism=fields["zero_stage_or_parallelism"].strip(),
        micro_batch=_whole(fields["micro_batch"]),
        tokens_per_second=_number(fields["tokens_per_sec_per_gpu"]),
        mfu=None if mfu is None else mfu / 100,
        memory=None if _number(memory) is None else float(memory) * unit,
        out_of_memory=memory.upper() == "OOM",
        notes=fields["notes"].strip(),
    )


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _whole(text: str) -> int | None:
    value = _number(text)
    return None if value is None else int(value)
