"""Parameters and FLOPs, against the trainer's presets and the published totals."""

from __future__ import annotations

from bench.rows.plan_cases import Case
from bench.rows.row import Row
from cli.workload import shape_of
from fleet.capacity.count import count, flops_per_token
from profiles.errors import WrongInput
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
    told = [(case, count(case.setup.shape).total, case.row.params) for case in cases if case.row.layers]
    known = [(case, ours, theirs) for case, ours, theirs in told if theirs]
    wrong = [f"{case.name}: {ours:,} and not {theirs:,}" for case, ours, theirs in known if not same(ours, theirs)]
    return Row(
        what=f"parameters of the {len(known)} rows that give dimensions",
        reach="exact",
        met=not wrong if known else None,
        shown=f"{len(known) - len(wrong)} exact" if known else "no rows",
        notes=wrong,
    )


def same(ours: int, theirs: int) -> bool:
    """Equal, or equal when rounded as the published number is, to millions or more ('6.7B')."""
    unit = 10 ** (len(str(theirs)) - len(str(theirs).rstrip("0")))
    return ours == theirs if unit < 10**6 else abs(ours - theirs) <= unit / 2


def _mfu(cases: list[Case]) -> Row:
    """llm-foundry's own convention: 6 P + 12 L h s over the dense peak of the precision."""
    told = [case for case in cases if case.row.mfu and case.row.tokens_per_second and case.row.kind == "llm-foundry"]
    errors = [abs(_achieved(case) - (case.row.mfu or 0)) for case in told]
    worst = max(errors, default=0.0)
    return Row(
        what=f"MFU of {len(told)} rows from their tokens/s",
        reach="within 0.15 percentage points",
        met=worst <= MFU if told else None,
        shown=f"worst {100 * worst:.2f} points" if told else "no rows",
    )


def _achieved(case: Case) -> float:
    """A share. Raises WrongInput where the GPU lacks the precision; such rows are no cases."""
    setup = case.setup
    peak = setup.gpu.peak_for(setup.precision)
    if not peak:
        raise WrongInput(f"{setup.gpu.name} has no hardware for {setup.precision}", "leave the row out")
    return flops_per_token(setup.shape, setup.length).palm * (case.row.tokens_per_second or 0) / peak / 1e12
