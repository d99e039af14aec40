"""Parameters and FLOPs, against the trainer's presets and the published totals."""

from __future__ import annotations

from bench.rows.plan_cases import Case
from bench.rows.row import Row
from cli.workload import shape_of
from fleet.capacity.count import count, flops_per_token
from trainer.config.presets import PRESETS, configured
from trainer.model.count import count as trained

MFU = 0.0015  # 0.15 percentage points


def rows(cases: list[Case]) -> list[Row]:
    """Presets, published totals, published MFU."""
    return [_presets(), _published(cases), _mfu(cases)]


def _presets() -> Row:
    models = {name: configured(preset).model for name, preset in PRESETS.items()}
    wrong = [name for name, model in models.items() if count(shape_of(model)).total != trained(model).total]
    return Row(
        what=f"parameters of the trainer's {len(models)} presets",
        reach="exact",
        met=not wrong,
        shown=f"{len(models) - len(wrong)} exact",
        notes=[f"{name}: {count(shape_of(model)).total:,}" for name, model in models.items()],
    )


def _published(cases: list[Case]) -> Row:
    told = [(case, count(case.setup.shape).total) for case in cases if case.row.params and case.row.layers]
    wrong = [f"{case.name}: {ours:,} and not {case.row.params:,}" for case, ours in told if ours != case.row.params]
    return Row(
        what=f"parameters of the {len(told)} rows that give dimensions",
        reach="exact",
        met=not wrong,
        shown=f"{len(told) - len(wrong)} exact",
        notes=wrong,
    )


def _mfu(cases: list[Case]) -> Row:
    """llm-foundry's own convention: 6 P + 12 L h s over the dense peak of the precision."""
    told = [case for case in cases if case.row.mfu and case.row.tokens_per_second and case.row.kind == "llm-foundry"]
    errors = []
    for case in told:
        setup = case.setup
        peak = setup.gpu.peak_for(setup.precision) or 0.0
        flops = flops_per_token(setup.shape, setup.length).palm * (case.row.tokens_per_second or 0)
        errors.append(abs(flops / peak / 1e12 - (case.row.mfu or 0)))
    worst = max(errors, default=0.0)
    return Row(
        what=f"MFU of {len(told)} rows from their tokens/s",
        reach="within 0.15 percentage points",
        met=worst <= MFU,
        shown=f"worst {100 * worst:.2f} points",
    )
