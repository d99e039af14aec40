"""The presets: their true sizes, beside what the seed documents claim, and every one of them trainable."""

from __future__ import annotations

import json

import pytest

from trainer.config import Config
from trainer.config.presets import PRESETS, configured, preset
from trainer.config.read import apply, apply_file
from trainer.errors import TrainerError
from trainer.model.count import count
from trainer.optim.curriculum import Plan

# name: parameters of the whole model, of the blocks' matrices; computed by hand from width, depth and vocabulary
SIZES = {
    "tiny": (842_496, 786_432),
    "shakespeare-chars": (10_795_008, 10_616_832),
    "gpt2-124m": (124_475_904, 84_934_656),
    "gpt2-350m": (354_871_296, 301_989_888),
    "llama-1b": (1_017_718_784, 811_597_824),
    "gpt2-1b-guide": (759_905_280, 679_477_248),
    "gpt2-1b": (1_013_669_888, 905_969_664),
    "d12": (185_597_952, 84_934_656),
    "d20": (560_988_160, 393_216_000),
    "d24": (880_803_840, 679_477_248),
    "d26": (1_081_999_360, 863_895_552),
    "d32": (1_879_048_192, 1_610_612_736),
    "d48": (5_838_471_168, 5_435_817_984),
    "d64": (13_421_772_800, 12_884_901_888),
    "chars-d24": (679_575_552, 679_477_248),
    "chars-d64": (12_885_164_032, 12_884_901_888),
    "superbpe-0.6b": (601_501_440, 345_374_720),
}
# what docs/seeds.md says is right, in millions: corrections C2, C3, C10, C17
CORRECTED = {
    "d12": (186, 84.9),
    "d20": (561, 393),
    "d32": (1880, 1610),
    "d48": (5840, 5440),
    "d24": (None, 679.5),
    "chars-d64": (12890, 12880),
    "gpt2-1b-guide": (759.9, None),
    "gpt2-1b": (1010, None),
}


def test_every_configuration_of_the_seed_documents_is_there():
    assert set(PRESETS) == set(SIZES)
    assert all(one.rows for name, one in PRESETS.items() if name.startswith(("d", "chars", "superbpe", "gpt2-1b")))


@pytest.mark.parametrize("name", SIZES)
def test_a_preset_passes_all_checks_and_has_its_true_size(name):
    counts = count(configured(PRESETS[name]).model)
    assert (counts.total, counts.matrices) == SIZES[name]


@pytest.mark.parametrize("name", CORRECTED)
def test_sizes_are_those_of_the_corrections(name):
    counts = count(configured(PRESETS[name]).model)
    for found, millions in zip((counts.total, counts.matrices), CORRECTED[name], strict=True):
        assert millions is None or found / 1e6 == pytest.approx(millions, rel=0.004)


@pytest.mark.parametrize("name", [name for name in SIZES if PRESETS[name].claim])
def test_a_claim_that_is_printed_differs_from_the_truth_by_more_than_a_tenth(name):
    total = count(configured(PRESETS[name]).model).total
    for claim in PRESETS[name].claim.split(", "):
        claimed = float(claim[:-1]) * {"M": 1e6, "B": 1e9}[claim[-1]]
        assert abs(claimed / total - 1) > 0.1


@pytest.mark.parametrize("depth", [12, 20, 24, 26, 32, 48, 64])
def test_a_depth_sets_width_and_heads(depth):
    model = configured(preset(f"d{depth}")).model
    assert (model.layers, model.width, model.heads * 128) == (depth, 64 * depth, 64 * depth)
    assert count(model).matrices == 12 * 64**2 * depth**3


def test_rates_end_with_the_run_and_batches_divide_over_eight_ranks():
    for one in PRESETS.values():
        config = configured(one)
        assert config.optim.decay_steps == config.train.steps > config.optim.warmup
        assert config.train.batch % 8 == 0


def test_the_curriculum_of_superbpe_is_exact_over_2_61_billion_tokens():
    config = configured(preset("superbpe-0.6b"))
    rows = Plan(config).describe()
    assert [row["length"] for row in rows] == [8, 16, 32, 64, 128, 256, 512, 2048]
    assert sum(row["tokens"] for row in rows) == config.train.steps * 524_288
    assert sum(row["tokens"] for row in rows) == pytest.approx(2.61e9, rel=1e-3)


def test_muon_is_never_asked_for_where_zero_cuts_matrices():
    for one in PRESETS.values():
        config = configured(one)
        assert config.optim.name == "adamw" or config.parallel.zero == 0


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(TrainerError) as caught:
        preset("gpt2-124")
    assert "gpt2-124m" in caught.value.next_step and caught.value.exit_code == 2


def test_the_table_shows_each_preset_with_its_sizes_and_the_claim(trainer):
    done = trainer("presets")
    lines = {line.split()[0]: line.split() for line in done.stdout.splitlines()[1:]}
    assert done.returncode == 0 and set(lines) == set(PRESETS)
    assert lines["chars-d64"][-5:] == ["12.89B", "12.88B", "4.3B", "524,288", "bf16"]
    assert "920M, 2.4B" in done.stdout


def test_json_says_all_of_it(trainer):
    rows = {row["name"]: row for row in json.loads(trainer("presets", "--json").stdout)}
    assert {name: (row["parameters"], row["matrices"]) for name, row in rows.items()} == SIZES
    assert rows["gpt2-1b-guide"]["claim"] == "1B" and rows["d64"]["sharding"] == "ZeRO-3"


def test_what_a_name_prints_is_a_config_file_that_gives_the_same_config(tmp_path, capsys):
    from trainer.commands.presets import run

    pytest.importorskip("yaml")
    for name, one in PRESETS.items():
        run(_Options(name))
        page = tmp_path / f"{name}.yaml"
        page.write_text(capsys.readouterr().out)
        told, meant = Config(), Config()
        apply_file(told, str(page))
        apply(meant, one.values, name)
        assert told == meant and f"{SIZES[name][0]:,} parameters" in page.read_text()


def test_an_unknown_name_ends_with_2_and_a_hint(trainer):
    done = trainer("presets", "d25")
    assert done.returncode == 2 and "d24" in done.stderr.splitlines()[-1]


class _Options:
    """What the parser makes of `presets NAME`."""

    json = False

    def __init__(self, name: str) -> None:
        self.name = name
