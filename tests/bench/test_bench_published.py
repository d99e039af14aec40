"""Published rows are read as they were meant, these and others of their kind."""

from __future__ import annotations

import csv
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.rows.cards import gpu_of
from bench.rows.cells import whole
from bench.rows.cut import cut_of
from bench.rows.published import PUBLIC, Published, precision_of, published, setup_of
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


def test_hybrid_sharding_says_how_many_copies_and_how_many_gpus_share_one():
    with pytest.raises(WrongInput, match=r"hybrid sharding \(2 copies\) is not modelled"):
        cut_of("HSDP 2x8; act_ckpt=none", 16)
    with pytest.raises(WrongInput, match="hybrid sharding is not modelled"):
        cut_of("HSDP; act_ckpt=none", 16)
    with pytest.raises(WrongInput, match=r"hybrid sharding \(4 copies\)"):
        cut_of("FSDP HYBRID_SHARD; act_ckpt=none", 32)
    with pytest.raises(WrongInput, match="multiply to 16 do not divide 8 GPUs"):
        cut_of("HSDP 2x8", 8)


@pytest.mark.parametrize("said", ["HSDP 1x8 TP2", "FSDP8 TP2", "HSDP (1x8) TP2"])
def test_one_copy_of_a_hybrid_is_sharding_over_all(said):
    cut = cut_of(said, 16)
    assert (cut.sharded, cut.zero, cut.tensor) == (8, 3, 2)


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


def test_a_sequence_whose_length_neither_row_nor_program_says_is_not_guessed():
    row = replace(rows(gpu="RTX 4090 24GB")[0], length=None)
    assert setup_of(row) == "the sequence length is not published"


@pytest.mark.parametrize(
    ("name", "params", "embeddings", "vocab"),
    [
        ("nanochat d32", 1_879_048_192, 0, 65536),
        ("d32", 1_900_000_000, 0, 65536),
        ("d32", 1_744_830_464, 0, 32768),
        ("d32 (run 4)", 2_818_572_288, 16, 32768),
        ("d32", None, 16, 32768),
    ],
)
def test_a_nanochat_is_the_variant_that_has_the_published_parameters(name, params, embeddings, vocab):
    made = setup(replace(rows(kind="nanochat")[0], model=name, params=params, vocab=None, layers=None))
    assert (made.shape.layers, made.shape.value_embeddings, made.shape.vocab) == (32, embeddings, vocab)
    assert (made.shape.windowed > 0) == (embeddings > 0)


def test_a_nanochat_with_parameters_of_no_variant_or_without_a_depth_is_told():
    row = rows(kind="nanochat")[0]
    assert "123,000,000 parameters are none of its variants" in setup_of(replace(row, params=123_000_000, model="d32"))
    assert "its depth is not published" in setup_of(replace(row, layers=None, model="nanochat run 3"))


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


def read(tmp_path, **cells: str) -> Published:
    """A row of torchtitan with these cells."""
    usual = {"source(repo:path)": "pytorch/torchtitan", "model": "Llama-3-8B", "gpu": "H100", "n_gpus": "8"}
    usual |= {"precision": "bf16", "zero_stage_or_parallelism": "FSDP8; act_ckpt=full", "micro_batch": "1"}
    with (tmp_path / "one.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns(), restval="")
        writer.writeheader()
        writer.writerow(usual | cells)
    [row] = published(tmp_path / "one.csv")
    return row


def test_numbers_are_read_as_people_write_them(tmp_path):
    row = read(
        tmp_path, tokens_per_sec_per_gpu="130,000", mfu="48%", peak_mem_gb="~22", peak_mem_unit="gb", params="8B"
    )
    assert (row.tokens_per_second, row.mfu, row.memory, row.params) == (130_000, 0.48, 22e9, 8_000_000_000)
    assert isinstance(setup_of(row), Setup)
    row = read(tmp_path, tokens_per_sec_per_gpu="9.6k", mfu="n/a", peak_mem_gb="OOM (80 GB)", params="-")
    assert (row.tokens_per_second, row.mfu, row.memory, row.params, row.out_of_memory) == (9600, None, None, None, True)


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("tokens_per_sec_per_gpu", "5,8"),
        ("tokens_per_sec_per_gpu", "5700-5800"),
        ("tokens_per_sec_per_gpu", "0"),
        ("tokens_per_sec_per_gpu", "-3"),
        ("tokens_per_sec_per_gpu", "1e999"),
        ("mfu", "about half"),
        ("peak_mem_gb", "22 of 24"),
        ("n_gpus", "two"),
        ("micro_batch", "1.5"),
        ("peak_mem_unit", "furlongs"),
    ],
)
def test_a_cell_that_is_no_one_number_leaves_the_row_out_and_says_which(tmp_path, column, text):
    row = read(tmp_path, **{column: text})
    assert setup_of(row).startswith(f"{column}: `{text}` is ")


def test_a_file_of_other_columns_is_refused_by_their_names(tmp_path):
    (tmp_path / "odd.csv").write_text("model,gpu\na,b\n")
    with pytest.raises(WrongInput, match=r"odd.csv has no column params, layers"):
        published(tmp_path / "odd.csv")


@given(st.integers(1, 10**12), st.sampled_from(("", "~", "about ", "≈ ")))
def test_thousands_may_be_set_apart_and_a_number_may_be_about(value, about):
    assert whole(f"{about}{value:,}") == whole(str(value)) == value
