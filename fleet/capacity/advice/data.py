"""Tokens against parameters, and epochs over the data: too few, too many, and what to expect."""

from __future__ import annotations

from fleet.capacity.count import Counts

# Hoffmann et al. 2022, arXiv 2203.15556: about 20 tokens per parameter make the best model of a given compute.
OPTIMAL = 20.0
# Muennighoff et al. 2023, arXiv 2305.16264: up to 4 epochs repeated data are nearly as good as new, after 16 they are
# worth little, and at about 40 nothing.
HARMLESS, WORN, USELESS = 4.0, 16.0, 40.0


def tokens_per_parameter(counts: Counts, tokens: float) -> float:
    """Tokens per parameter, embeddings included."""
    return tokens / counts.total


def on_data(counts: Counts, tokens: float, dataset: float | None) -> list[str]:
    """Lines on the amount of data, most important first. dataset: distinct tokens there are, None: not known."""
    ratio = tokens_per_parameter(counts, tokens)
    lines = []
    if dataset:
        lines += _on_epochs(tokens / dataset)
    if ratio < OPTIMAL / 2:
        smaller = counts.total * (ratio / OPTIMAL) ** 0.5  # as many FLOPs: 6 N D stays, D becomes 20 N
        lines.append(
            f"{ratio:.1f} tokens per parameter: for this compute a smaller model (about "
            f"{_large(smaller)}) on more tokens would reach a lower loss (20 per parameter: "
            "Hoffmann et al. 2022)"
        )
    elif ratio > 10 * OPTIMAL:
        lines.append(
            f"{ratio:.0f} tokens per parameter: well past the 20 that are best for compute alone; right when the model "
            "is to be cheap to serve"
        )
    else:
        lines.append(f"{ratio:.1f} tokens per parameter (about 20 are best for compute: Hoffmann et al. 2022)")
    return lines


def _on_epochs(epochs: float) -> list[str]:
    source = "Muennighoff et al. 2023"
    if epochs > USELESS:
        return [
            f"{epochs:.1f} epochs: it will overfit; past 40, repeating adds nothing ({source}). Watch the "
            "validation loss and set limits.patience"
        ]
    if epochs > WORN:
        return [
            f"{epochs:.1f} epochs: high risk of overfitting; past 16, repeating is worth little ({source}). Watch "
            "the validation loss and set limits.patience"
        ]
    if epochs > HARMLESS:
        return [f"{epochs:.1f} epochs: past 4, a repeated token is worth less than a new one ({source})"]
    return [f"{epochs:.2g} epochs over the data"]


def _large(parameters: float) -> str:
    """To two digits: 2.8B, 690M, 93k."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if parameters >= size:
            return f"{float(f'{parameters / size:.2g}'):g}{letter}"
    return f"{parameters:.0f}"
