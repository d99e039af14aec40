"""Fits the constants of fleet/capacity/speed on published rows, and shows how well they foretell rows left out.

    python -m bench.fit_speed            fit, errors by kind of row, errors of rows left out by model, GPU, kind, length

Least squares on ln(predicted / published), blunted so that a row 30% off (some published rows are) pulls little more
than one 6% off; and every constant drawn towards EXPECTED, since eager runs alone cannot tell a product's operands from
the elementwise work beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from bench.rows.published import Published, published, setup_of
from fleet.capacity.setup import Setup
from fleet.capacity.speed.constants import FITTED, Constants
from fleet.capacity.speed.step import per_gpu

NOISE = 0.03  # of a published rate: beyond it a row counts less and less
LOOSE = 0.5  # how far (ln) a constant may stray from what is expected at the price of one row NOISE off
# name: (expected, how surely): kernels' papers, data sheets, bytes that an operation must move at least
EXPECTED = {
    "product": (0.85, 0.05),
    "power": (0.65, LOOSE),
    "product8": (0.62, 0.05),
    "rowwise": (0.6, LOOSE),
    "flash1_ampere": (0.31, LOOSE),
    "flash1_hopper": (0.19, LOOSE),
    "flash2_ampere": (0.55, 0.15),  # arXiv 2307.08691: up to 73% forward, 63% backward
    "flash2_hopper": (0.35, 0.15),
    "flash3_hopper": (0.48, 0.1),  # arXiv 2407.08608
    "operands": (0.7, 0.15),
    "eager": (90.0, LOOSE),
    "fused": (0.5, 0.3),
    "logits": (24.0, LOOSE),
    "quantise": (8.0, 0.08),
    "recompute": (0.3, LOOSE),
    "exposed": (0.2, LOOSE),
    "nvlink": (0.7, 0.15),
    "jitter": (0.005, LOOSE),
}
NAMES = tuple(EXPECTED)
CENTRE = np.log([value for value, _ in EXPECTED.values()])
SURE = np.array([sure for _, sure in EXPECTED.values()])


@dataclass(frozen=True)
class Case:
    """A published rate, and what we are asked about."""

    row: Published
    setup: Setup

    def error(self, constants: Constants) -> float:
        """Predicted over published, less one."""
        return per_gpu(self.setup, constants) / (self.row.tokens_per_second or 1) - 1


def cases() -> list[Case]:
    """Rows with a rate of which enough is known."""
    pairs = [(row, setup_of(row)) for row in published() if row.tokens_per_second]
    return [Case(row, setup) for row, setup in pairs if isinstance(setup, Setup)]


def fit(rows: Sequence[Case]) -> Constants:
    """Levenberg-Marquardt over the logarithms of the constants."""
    x, damping = CENTRE.copy(), 1e-2
    now = _residuals(x, rows)
    for _ in range(60):
        slope = np.array([(_residuals(x + step, rows) - now) / 1e-4 for step in np.eye(len(x)) * 1e-4]).T
        square = slope.T @ slope
        move = np.linalg.solve(square + damping * np.diag(np.diag(square)), -slope.T @ now)
        after = _residuals(x + move, rows)
        if after @ after < now @ now:
            small = now @ now - after @ after < 1e-6 * (now @ now)
            x, now, damping = x + move, after, damping / 5
            if small:
                break
        else:
            damping *= 5
    return _constants(x)


def left_out(rows: Sequence[Case], group: Callable[[Case], object]) -> list[float]:
    """Errors of every row by constants fitted without the rows of its group."""
    errors = []
    for each in dict.fromkeys(group(case) for case in rows):
        constants = fit([case for case in rows if group(case) != each])
        errors += [case.error(constants) for case in rows if group(case) == each]
    return errors


def _constants(x: np.ndarray) -> Constants:
    return replace(FITTED, **dict(zip(NAMES, (float(value) for value in np.exp(x)), strict=True)))


def _residuals(x: np.ndarray, rows: Sequence[Case]) -> np.ndarray:
    constants = _constants(x)
    off = np.log([1 + case.error(constants) for case in rows]) / NOISE
    blunted = np.sign(off) * np.sqrt(2 * (np.sqrt(1 + off * off) - 1))
    return np.concatenate([blunted, (x - CENTRE) / SURE])


def told(name: str, errors: Sequence[float]) -> str:
    """One line of a table."""
    sizes = [abs(error) for error in errors]
    shares = [sum(size <= limit for size in sizes) / len(sizes) for limit in (0.05, 0.15, 0.30)]
    near, reach, far = (f"{share:4.0%}" for share in shares)
    return f"{name:34} {len(sizes):4} median {median(sizes):5.1%}  within 5% {near}  15% {reach}  30% {far}"


def main() -> None:
    """Prints constants and tables."""
    rows = cases()
    found = fit(rows)
    for name in NAMES:
        print(f"{name:14} {getattr(found, name):8.4g}   shipped {getattr(FITTED, name):g}")
    print(told("shipped, all rows", [case.error(FITTED) for case in rows]))
    for kind in sorted({case.row.kind for case in rows}):
        print(told(f"shipped, {kind}", [case.error(FITTED) for case in rows if case.row.kind == kind]))
    groups: dict[str, Callable[[Case], object]] = {
        "an eighth": lambda case: rows.index(case) % 8,
        "a model": lambda case: case.row.model.lower(),
        "a GPU": lambda case: case.setup.gpu.key,
        "a kind of row": lambda case: case.row.kind,
        "a length": lambda case: case.setup.length,
    }
    for name, group in groups.items():
        print(told(f"left out: {name}", left_out(rows, group)))


if __name__ == "__main__":
    main()
