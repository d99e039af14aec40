"""Pretraining: the tokens of data.path, in the order that the seed gives them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from trainer.config import Config
from trainer.data.loader import Loader
from trainer.data.order import Order
from trainer.data.tokens import Tokens, open_tokens
from trainer.parallel.world import World
from trainer.run.evaluate import SplitPairs
from trainer.run.folder import keep_tokenizer


class Corpus:
    """The work of pretraining. cache: folder for remote shards."""

    def __init__(self, config: Config, cache: Path) -> None:
        self.tokens: Tokens = open_tokens(config.data, config.model.context, config.model.vocab, cache)
        self.token_bytes = self.tokens.token_bytes

    def source(self, config: Config, world: World) -> Windows:
        """This rank's windows of the training split."""
        return Windows(self.tokens, config, world)

    def validation(self, config: Config) -> SplitPairs | None:
        """The held-out split; None when there is none."""
        return SplitPairs(self.tokens.val, config.model.context) if self.tokens.val is not None else None

    def begin(self, model: nn.Module) -> None:
        """Pretraining begins with the weights that the seed gives."""

    def describe(self) -> dict[str, Any]:
        """What the data is."""
        return self.tokens.describe()

    def close(self) -> None:
        """Ends the download of shards."""
        self.tokens.close()

    def keep(self, folder: Path) -> None:
        """The tokenizer, for sampling and export."""
        keep_tokenizer(folder, lambda place: self.tokens.tokenizer.save(place))


class Windows:
    """The training split as a Source."""

    masked = False

    def __init__(self, tokens: Tokens, config: Config, world: World) -> None:
        split, data = tokens.train, config.data
        order = Order(split.shards, config.train.seed, data.shuffle_shards)
        self.loader = Loader(
            split, order, config.train.batch, world.rank, world.size, config.model.context, data.prefetch
        )
        self.windows: int = split.windows
        self.identity: str = tokens.sha256

    def micro_batches(self, sample: int, micro: int, length: int) -> Iterator[tuple[Tensor, Tensor]]:
        """See Source."""
        return self.loader.micro_batches(sample, micro, length)

    def close(self) -> None:
        """Ends the reading thread."""
        self.loader.close()
