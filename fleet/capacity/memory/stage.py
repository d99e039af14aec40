"""What of a model lies on one GPU when tensor and pipeline parallelism cut it."""

from __future__ import annotations

from dataclasses import dataclass

from fleet.capacity.count import count
from fleet.capacity.setup import Setup


@dataclass(frozen=True, slots=True)
class Stage:
    """Parameters and layers of one GPU before data parallelism cuts them. in_flight: micro-batches whose activations
    exist at once; first, last: whether it holds the embedding, the head.
    largest: parameters of the largest single matrix."""

    layers: float
    matrices: float
    embedding: float
    head: float
    vectors: float
    in_flight: int
    first: bool
    last: bool
    largest: float

    @property
    def total(self) -> float:
        """All parameters."""
        return self.matrices + self.embedding + self.head + self.vectors

    @property
    def layer(self) -> float:
        """Parameters of one layer."""
        return (self.matrices + self.vectors) / self.layers

    @property
    def root(self) -> float:
        """Parameters outside of the blocks."""
        return self.embedding + self.head


def stages(setup: Setup) -> list[Stage]:
    """The first and the last of a pipeline, which hold most; one without a pipeline.

    1F1B: the first stage has as many micro-batches under way as there are stages, the last has one (PipeDream,
    arXiv 1806.03377), and no more than there are.
    """
    counts, cut = count(setup.shape), float(setup.tensor)
    depth = setup.pipeline
    layers = float(-(-setup.shape.layers // depth))
    share = layers / setup.shape.layers
    embedding = (counts.embedding + counts.positions + counts.value_embeddings) / cut
    largest = setup.shape.width * max(setup.shape.vocab, setup.shape.ffn) / cut
    blocks = {
        "layers": layers,
        "matrices": counts.matrices * share / cut,
        "vectors": counts.vectors * share,
        "largest": largest,
    }
    head = (counts.head or 0) / cut
    if depth == 1:
        return [Stage(embedding=embedding, head=head, in_flight=1, first=True, last=True, **blocks)]
    own_head = head or counts.embedding / cut  # a tied head needs the matrix on both ends
    return [
        Stage(
            embedding=embedding, head=0.0, in_flight=min(depth, setup.accumulation), first=True, last=False, **blocks
        ),
        Stage(embedding=0.0, head=own_head, in_flight=1, first=False, last=True, **blocks),
    ]
