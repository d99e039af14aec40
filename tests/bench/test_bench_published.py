"""Published rows are read as they were meant, these and others of their kind."""

from __future__ import annotations

import csv
from dataclasses import replace

import pytest

from bench.rows.cut import cut_of
from bench.rows.published import PUBLIC, Published, gpu_of, precision_of, published, setup_of
from fleet.capacity.setup import Adapter, Setup
from profiles.errors import WrongInput

ROWS = published()


def rows(**wanted: object) -> list[Published]:
    return [row for row in ROWS if all(getattr(row, name) == value for name, value in wanted.items())]


def setup(row: Published) -> Setup:
    found = setup_of(row)
    assert isinstance(found, Setup), found
    return found


def test_the_public_file_is_read_whole():
    assert len(ROWS) == 142
    assert sum(row.memory is not None for row in ROWS) == 21
    assert sum(row.out_of_memory for row in ROWS) == 3


def test_all_but_two_rows_become_setups_and_the_two_say_why():
    assert {row.model: setup_of(row) for row in ROWS if isinstance(setup_of(row), str)} == {
        "LLaMA-65B": "how cli99/llm-analysis trains is not known here",
        "Nemotron V3 Super 120B (MoE)": "a mixture of experts is not modelled",
    }


def test_memory_is_bytes_of_the_unit_that_was_published():
    [phi] = rows(model="Phi-3-mini-4k")
    assert phi.memory == pytest.approx(17.01e9)
    [h200] = rows(gpu="H200 141GB")
    assert h200.memory == pytest.approx(47.96 * 2**30)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("A100 40GB", "a100-40-sxm"),
        ("A100 80GB", "a100-80-sxm"),
        ("A100", "a100-80-sxm"),
        ("A100-SXM4-40GB", "a100-40-sxm"),
        ("A100 40GB PCIe", "a100-40-pcie"),
        ("H100 80GB", "h100-sxm"),
        ("H100", "h100-sxm"),
        ("8xH100", "h100-sxm"),
        ("DGX-H100", "h100-sxm"),
        ("H100 PCIe", "h100-pcie"),
        ("H100 NVL", "h100-nvl"),
        ("H100 96GB HBM2e 500W", "h100-96-sxm"),
        ("H200 141GB", "h200-sxm"),
        ("A10G", "a10g"),
        ("RTX 4090 24GB", "rtx4090"),
        ("RTX 3090", "rtx3090"),
        ("RTX A6000 48GB", "rtx-a6000"),
        ("RTX 6000 Ada", "rtx6000-ada"),
        ("A40", "a40"),
        ("L4", "l4"),
        ("L40S", "l40s"),
        ("B200", "b200"),
    ],
)
def test_a_gpu_is_known_by_its_published_name(name, key):
    assert gpu_of(name).key == key


@pytest.mark.parametrize("name", ["V100", "GH200", "GB200", "MI300X", "TPU v4", "A10", "L40"])
def test_a_gpu_that_is_not_in_the_table_is_not_taken_for_another(name):
    with pytest.raises(WrongInput, match="is not in the table"):
        gpu_of(name)
    assert setup_of(replace(rows(gpu="H100")[0], gpu=name)) == f"the GPU `{name}` is not in the table"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("bf16", "bf16"),
        ("amp_bf16", "bf16"),
        ("", "bf16"),
        ("amp_fp8", "fp8-delayed"),
        ("fp8 tensorwise", "fp8-current"),
        ("fp8 (float8 linear)", "fp8-current"),
        ("fp8 (float8 linear, fp8 all-gather)", "fp8-current"),
        ("float8 rowwise", "fp8-rowwise"),
        ("fp8 rowwise", "fp8-rowwise"),
        ("mxfp8", "mxfp8"),
        ("fp32", "fp32"),
    ],
)
def test_a_precision_is_known_by_its_published_word(said, meant):
    assert precision_of(said) == meant


def test_a_precision_nobody_models_is_not_guessed():
    with pytest.raises(WrongInput, match="`int8` is not modelled"):
        precision_of("int8")


def test_llm_foundry_says_stage_checkpointing_and_mixed_precision_in_one_string():
    cut = cut_of("FSDP SHARD_GRAD_OP (ZeRO-2); act_ckpt=none; mp=DEFAULT", 64)
    assert (cut.zero, cut.checkpointing, cut.pure, cut.compile) == (2, "none", False, None)
    cut = cut_of("FSDP FULL_SHARD (ZeRO-3); act_ckpt=full; mp=PURE", 8)
    assert (cut.zero, cut.checkpointing, cut.pure) == (3, "full", True)


def test_torchtitan_says_how_many_gpus_share_what():
    cut = cut_of("FSDP8 TP8 PP8 CP4 1F1B AsyncTP; act_ckpt=full", 2048)
    assert (cut.sharded, cut.tensor, cut.pipeline, cut.context, cut.zero) == (8, 8, 8, 4, 3)
    assert cut.compile is True
    assert cut_of("FSDP8 (ZeRO-3); act_ckpt=selective; no compile", 8).compile is False
    assert cut_of("FSDP256; act_ckpt=selective-op; torch.compile", 256).checkpointing == "selective"
    assert cut_of("FSDP32 (ZeRO-3); act_ckpt=default of llama3_8b.toml; torch.compile", 32).checkpointing is None


def test_copies_of_a_sharded_model_are_not_taken_for_one_model_over_all():
    with pytest.raises(WrongInput, match=r"hybrid sharding \(8 copies\) is not modelled"):
        cut_of("HSDP: FSDP8; act_ckpt=none", 64)
    with pytest.raises(WrongInput, match="multiply to 48 do not divide 64 GPUs"):
        cut_of("FSDP8 TP6", 64)


def test_fine_tuning_says_lora_or_not():
    assert cut_of("qlora", 1).adapter == "quantised"
    assert cut_of("QLoRA FSDP8; torch.compile", 8).adapter == "quantised"
    assert cut_of("LoRA; torch.compile", 1).adapter == "plain"
    assert cut_of("full finetune single device; torch.compile", 1).adapter is None


def test_ddp_with_a_sharded_optimizer_is_stage_one():
    assert cut_of("DDP + sharded Muon/AdamW optimizer; act_ckpt=none", 8).zero == 1
    assert cut_of("DDP", 8).zero == 0


def test_an_mpt_row_is_cut_as_llm_foundry_cuts():
    row = rows(model="MPT-7b", gpu="A100 40GB", gpus=8, length=2048)[0]
    made = setup(row)
    assert (made.engine, made.zero, made.checkpointing, made.precision) == ("fsdp-pure", 3, "full", "bf16")
    assert (made.shape.heads, made.shape.context, made.shape.tied) == (32, 2048, True)
    assert (made.compile, made.loss_chunk, made.optimizer, made.link) == (False, -1, "adamw", "nvlink")
    assert made.accumulation == 3  # 2^19 tokens: the smallest global batch its sweeps take
    assert setup(rows(model="MPT-7b", gpu="H100 80GB")[0]).engine == "fsdp"


def test_a_pipeline_splits_the_batch_of_a_rank_into_micro_batches():
    made = setup(rows(model="Llama-3.1-405B", length=8192)[0])
    assert (made.tensor, made.pipeline, made.data_parallel) == (8, 8, 8)
    assert made.micro_batch * made.accumulation == 32
    assert made.step_tokens == 8 * 32 * 8192


def test_a_sequence_that_was_not_stated_has_the_length_of_the_programs_configuration():
    row = rows(model="Llama-3-70B")[0]
    assert row.length is None
    assert setup(row).length == 8192


def test_torchtitan_compiles_its_loss_since_april_2025():
    before, since = rows(model="Llama-3.1-8B", gpus=128)[0], rows(gpu="H200 141GB")[0]
    assert (setup(before).compile, setup(before).engine) == (True, "fsdp2")
    assert (setup(since).compile, setup(since).engine) == (True, "fsdp2-compiled-loss")
    assert setup(replace(since, parallelism="FSDP32; no compile")).engine == "fsdp2"


def test_nanochat_is_its_depth_with_its_default_batch():
    made = setup(rows(model="nanochat d12")[0])
    assert (made.shape.layers, made.shape.width, made.shape.value_embeddings) == (12, 768, 6)
    assert (made.shape.windowed, made.shape.window) == (9, 1024)  # every fourth layer and the last see everything
    assert (made.micro_batch, made.step_tokens, made.optimizer, made.zero) == (32, 524_288, "muon", 1)


def test_a_recipe_of_litgpt_is_what_its_configurations_have_in_common():
    made = setup(rows(model="falcon-7b")[0])
    assert made.adapter == Adapter(32, ("q", "v"))
    assert (made.engine, made.zero, made.step_tokens, made.link) == ("bf16", 0, 8 * 512, "pcie")
    assert not made.shape.tied  # it keeps the head beside the embedding
    several = setup(rows(model="stablelm-base-alpha-3b")[0])
    assert (several.zero, several.checkpointing, several.accumulation, several.adapter) == (3, "full", 2, None)


def test_a_recipe_of_torchtune_depends_on_the_number_of_gpus():
    alone, many = setup(rows(gpu="RTX 4090 24GB")[0]), setup(rows(model="Llama-3.1-70B", kind="torchtune")[0])
    assert (alone.adapter.rank, many.adapter.rank) == (8, 16)
    assert (alone.zero, many.zero, alone.checkpointing) == (0, 3, "full")
    assert setup(rows(gpu="RTX A6000 48GB")[0]).optimizer == "paged-adamw8bit"


OTHERS = {  # rows as kept-aside files have them: other models, sizes and words, the same columns
    (
        "mosaicml/llm-foundry",
        "MPT-30b",
        48,
        7168,
        4096,
        "A100 80GB",
        64,
        "amp_bf16",
        "FSDP FULL_SHARD (ZeRO-3)",
        4,
    ): "mpt-30b",
    ("Lightning-AI/litgpt", "gemma-2-2b", "", "", 512, "A10G", 1, "bf16", "qlora", 1): "gemma-2-2b",
    ("Lightning-AI/litgpt", "danube2", "", "", 512, "A10G", 4, "bf16", "full", 2): "danube2-1.8b",
    (
        "pytorch/torchtitan",
        "Llama 3 8B",
        32,
        4096,
        "",
        "H100",
        64,
        "float8",
        "FSDP8 TP8; act_ckpt=none",
        1,
    ): "llama-3-8b",
    (
        "pytorch/torchtitan",
        "Llama-3-8B",
        32,
        4096,
        "",
        "H100",
        64,
        "bf16",
        "FSDP8",
        1,
    ): "hybrid sharding (8 copies) is not modelled",
    (
        "pytorch/torchtune",
        "Llama-3.2-3B",
        "",
        "",
        2048,
        "RTX 3090",
        1,
        "bf16",
        "qlora; torch.compile",
        2,
    ): "llama-3.2-3b",
    (
        "karpathy/nanochat",
        "nanochat d32",
        32,
        2048,
        2048,
        "H100",
        8,
        "bf16",
        "DDP + sharded optimizer",
        8,
    ): "nanochat-d32",
    (
        "someone/else",
        "nobody-13b",
        "",
        "",
        2048,
        "H100",
        8,
        "bf16",
        "DDP",
        1,
    ): "how someone/else trains is not known here",
    ("Lightning-AI/litgpt", "nobody-13b", "", "", 512, "A10G", 1, "bf16", "lora", 1): "unknown model `nobody-13b`",
    (
        "pytorch/torchtitan",
        "Qwen3-30B-A3B",
        "",
        "",
        4096,
        "H100",
        8,
        "bf16",
        "FSDP8",
        1,
    ): "a mixture of experts is not modelled",
}


@pytest.mark.parametrize(
    ("fields", "answer"), OTHERS.items(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_other_rows_of_these_programs_are_read_too(fields, answer, tmp_path):
    names = ("source(repo:path)", "model", "layers", "d_model", "seq_len", "gpu", "n_gpus", "precision")
    row = dict(zip((*names, "zero_stage_or_parallelism", "micro_batch"), fields, strict=True))
    with (tmp_path / "others.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns(), restval="")
        writer.writeheader()
        writer.writerow(row | {"peak_mem_gb": "OOM"})
    [read] = published(tmp_path / "others.csv")
    found = setup_of(read)
    assert (found if isinstance(found, str) else found.shape.name) == answer
    assert read.out_of_memory
    assert read.memory is None


def columns() -> list[str]:
    """Of the public file; others have the same."""
    with PUBLIC.open(newline="") as file:
        return next(csv.reader(file))
