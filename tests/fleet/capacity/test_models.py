"""The table of known models says what was published."""

import pytest

from fleet.capacity import models
from fleet.capacity.count import count
from fleet.capacity.families import nanochat
from profiles.errors import WrongInput

PUBLISHED = {  # parameters as the weights' pages and files show them, a tied head counted once
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "llama-7b": 6_738_415_616,
    "llama-13b": 13_015_864_320,
    "llama-33b": 32_528_943_616,
    "llama-65b": 65_285_660_672,
    "llama-2-7b": 6_738_415_616,
    "llama-2-13b": 13_015_864_320,
    "llama-2-70b": 68_976_648_192,
    "llama-3-8b": 8_030_261_248,
    "llama-3-70b": 70_553_706_496,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.1-70b": 70_553_706_496,
    "llama-3.1-405b": 405_853_388_800,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "tiny-llama-1.1b": 1_100_048_384,
    "smollm-135m": 134_515_008,
    "smollm-360m": 361_821_120,
    "smollm-1.7b": 1_711_376_384,
    "mistral-7b": 7_241_732_096,
    "mistral-7b-v0.3": 7_248_023_552,
    "danube2-1.8b": 1_831_201_280,
    "phi-3-mini-4k": 3_821_079_552,
    "phi-1.5": 1_418_270_720,
    "phi-2": 2_779_683_840,
    "falcon-7b": 6_921_720_704,
    "gemma-2b": 2_506_172_416,
    "gemma-7b": 8_537_680_896,
    "gemma-2-2b": 2_614_341_888,
    "gemma-2-9b": 9_241_705_984,
    "gemma-2-27b": 27_227_128_320,
    "pythia-70m": 70_426_624,
    "pythia-160m": 162_322_944,
    "pythia-410m": 405_334_016,
    "pythia-1b": 1_011_781_632,
    "pythia-1.4b": 1_414_647_808,
    "pythia-2.8b": 2_775_208_960,
    "pythia-6.9b": 6_857_302_016,
    "pythia-12b": 11_846_072_320,
    "qwen2-0.5b": 494_032_768,
    "qwen2-1.5b": 1_543_714_304,
    "qwen2.5-3b": 3_085_938_688,
    "qwen2-7b": 7_615_616_512,
    "qwen2.5-14b": 14_770_033_664,
    "qwen2.5-32b": 32_763_876_352,
    "qwen2-72b": 72_706_203_648,
    "qwen3-0.6b": 596_049_920,
    "qwen3-1.7b": 1_720_574_976,
    "qwen3-4b": 4_022_468_096,
    "qwen3-8b": 8_190_735_360,
    "qwen3-14b": 14_768_307_200,
    "qwen3-32b": 32_762_123_264,
}


@pytest.mark.parametrize(("name", "total"), PUBLISHED.items())
def test_a_known_model_has_as_many_parameters_as_its_publisher_says(name, total):
    assert count(models.model(name)).total == total


def test_every_name_that_is_listed_is_known_and_has_a_source():
    assert {models.model(name).name for name in models.names()} == set(models.names())
    assert all(models.source(name) for name in models.names())
    assert len(set(models.names())) == len(models.names())


@pytest.mark.parametrize(
    ("spelt", "meant"),
    [
        ("Llama-3.1-8B", "llama-3.1-8b"),
        ("LLaMA-65B", "llama-65b"),
        ("Llama3 8B", "llama-3-8b"),
        ("meta-llama/Meta-Llama-3-70B", "llama-3-70b"),
        ("Phi-3-mini-4k", "phi-3-mini-4k"),
        ("gemma2-9b", "gemma-2-9b"),
        ("tiny-llama", "tiny-llama-1.1b"),
        ("MPT-7b", "mpt-7b"),
        ("nanochat d26", "nanochat-d26"),
        ("Qwen/Qwen2.5-7B", "qwen2-7b"),
    ],
)
def test_a_model_is_found_however_its_name_is_spelt(spelt, meant):
    assert models.model(spelt).name == meant


def test_a_name_that_is_not_known_is_refused_with_the_nearest_that_is():
    with pytest.raises(WrongInput, match="unknown model `lama-3-8b`") as error:
        models.model("lama-3-8b")
    assert "llama-3-8b" in error.value.next_step


@pytest.mark.parametrize(
    ("depth", "matrices", "current", "without", "characters", "wide"),
    [  # planning.md, section 1: millions
        (12, 84.9, 286, 135, 85.3, 186),
        (20, 393.2, 897, 477, 394.2, 561),
        (24, 679.5, 1384, 780, 680.9, 881),
        (26, 863.9, 1682, 973, 865.5, 1082),
        (32, 1610.6, 2819, 1745, 1613.0, 1879),
        (48, 5435.8, 8053, 5637, 5440.9, 5838),
        (64, 12884.9, 17448, 13153, 12893.8, 13422),
        (80, 25165.8, 32212, 25501, 25179.6, 25837),
    ],
)
def test_nanochat_is_counted_by_its_depth(depth, matrices, current, without, characters, wide):
    def millions(**kind):
        return count(nanochat(depth, **kind)).total / 1e6

    assert count(nanochat(depth)).matrices / 1e6 == pytest.approx(matrices, abs=0.05)
    assert millions() == pytest.approx(current, abs=0.51)
    assert millions(value_embeddings=False) == pytest.approx(without, abs=0.51)
    assert millions(vocab=50) == pytest.approx(characters, abs=0.051)
    assert millions(vocab=65536, value_embeddings=False) == pytest.approx(wide, abs=0.51)
