"""The curriculum: borders exact in tokens, the stage of a step by arithmetic alone."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as some

from trainer.config import Config, Model, Stage, Train
from trainer.errors import TrainerError
from trainer.optim.curriculum import Plan, parse


def config_of(stages, context=64, batch=4, steps=100):
    return Config(model=Model(context=context), train=Train(batch=batch, steps=steps), curriculum=stages)


@some.composite
def curricula(draw):
    context = 2 ** draw(some.integers(3, 11))
    batch = draw(some.integers(1, 64))
    lengths = some.sampled_from([length for length in range(1, context + 1) if context % length == 0])
    stages = [
        Stage(draw(lengths), draw(some.integers(1, 40)) * batch * context) for _ in range(draw(some.integers(0, 6)))
    ]
    return config_of([*stages, Stage(draw(lengths))], context, batch, draw(some.integers(1, 200)))


@given(curricula())
def test_each_stage_sees_exactly_its_tokens(config):
    plan = Plan(config)
    per_step = config.train.batch * config.model.context
    border = plan.borders()[-1] if plan.borders() else 0
    seen = [0] * len(config.curriculum)
    for step in range(border + 5):
        number, length = plan.at(step)
        assert length == config.curriculum[number].length
        seen[number] += per_step
    assert seen[:-1] == [stage.tokens for stage in config.curriculum[:-1]]
    assert seen[-1] == 5 * per_step


@given(curricula())
def test_the_rows_cover_every_step_of_the_run_once(config):
    rows = Plan(config).describe()
    steps = [step for row in rows if row["first_step"] for step in range(row["first_step"], row["last_step"] + 1)]
    assert steps == list(range(1, config.train.steps + 1))
    assert sum(row["tokens"] for row in rows) == config.train.steps * config.train.batch * config.model.context
    for row in rows:
        if row["first_step"]:
            assert Plan(config).at(row["first_step"] - 1)[0] == row["stage"] - 1
    json.dumps(rows)


def test_without_a_curriculum_all_steps_have_the_context():
    plan = Plan(config_of([]))
    assert plan.at(0) == plan.at(10**9) == (0, 64) and plan.borders() == [] and plan.stages() == [(0, 64, 0)]


def test_sequences_of_a_micro_batch_are_its_windows_cut():
    config = config_of([Stage(8, 1024, 2), Stage(64)])
    config.train.micro_batch = 4
    rows = Plan(config).describe()
    assert [row["sequences"] for row in rows] == [2 * 8, 4]
    assert Plan(config).stages() == [(0, 8, 2), (1, 64, 0)]


def test_a_border_inside_a_step_is_refused_with_the_two_nearest():
    with pytest.raises(TrainerError) as caught:
        Plan(config_of([Stage(8, 1000), Stage(64)]))
    assert "768 or 1024" in caught.value.next_step and "256 tokens of a step" in caught.value.what


@pytest.mark.parametrize(
    ("stages", "what", "hint"),
    [
        ([Stage(24, 256), Stage(64)], "24 does not divide model.context 64", "16 or 32"),
        ([Stage(128)], "128 does not divide model.context 64", "64"),
        ([Stage(0)], "0 does not divide", "1 or 2"),
        ([Stage(8, 0), Stage(64)], "tokens 0 is not a multiple", "256"),
        ([Stage(8, -256), Stage(64)], "tokens -256", "256"),
        ([Stage(8, 256), Stage(64, 256)], "it is the last stage", "set it to 0"),
        ([Stage(8, 256, -1), Stage(64)], "micro_batch is -1", "at least 0"),
    ],
)
def test_stages_that_cannot_be_are_refused(stages, what, hint):
    with pytest.raises(TrainerError) as caught:
        Plan(config_of(stages))
    assert what in caught.value.what and hint in caught.value.next_step


def test_text_names_lengths_tokens_and_micro_batches():
    assert parse("8:50M, 64:1.5B:32,128:48Mi,2048::4") == [
        Stage(8, 50_000_000),
        Stage(64, 1_500_000_000, 32),
        Stage(128, 48 * 2**20),
        Stage(2048, 0, 4),
    ]


@given(
    some.lists(some.builds(Stage, some.integers(1, 9999), some.integers(0, 10**12), some.integers(0, 99)), min_size=1)
)
def test_text_of_any_stages_reads_back(stages):
    assert parse(",".join(f"{stage.length}:{stage.tokens}:{stage.micro_batch}" for stage in stages)) == stages


@pytest.mark.parametrize("text", ["", "8:", "8:5X", "x", "8:50MM,64", "8:1:2:3", "8:1.5", "8:0.0001K", "8,,64"])
def test_text_that_is_no_curriculum_is_refused_with_an_example(text):
    if text == "8:":
        assert parse(text) == [Stage(8)]
        return
    with pytest.raises(TrainerError, match="is no stage") as caught:
        parse(text)
    assert "2048" in caught.value.next_step
