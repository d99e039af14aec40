"""What a plan is asked for, gathered value by value; each keeps its origin: only what somebody said is held fixed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from profiles.errors import WrongInput

if TYPE_CHECKING:
    from fleet.capacity.shape import Shape
    from trainer.config import Config


@dataclass
class Asked:
    """config: as the trainer would read it. shape: of a known model, which stands instead of the config's.

    said: origin by dotted key; notes: lines for the report about what was assumed.
    """

    config: Config
    shape: Shape | None = None
    name: str = ""  # of the model; empty: made of its dimensions
    said: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def put(self, values: dict[str, Any], source: str) -> None:
        """Nested values over what is there. Raises WrongInput naming the key, the source and the nearest key."""
        from trainer.config.read import apply

        with told():
            apply(self.config, values, source)
        for section, content in values.items():
            for key in content if isinstance(content, dict) else ():
                self.said[f"{section}.{key}"] = source

    def assign(self, text: str) -> None:
        """One `--set A.B=C`. Raises WrongInput."""
        from trainer.config.read import apply_text

        name = text.partition("=")[0].strip()
        if self.shape is not None and name.startswith("model."):
            raise WrongInput(f"--set {text} contradicts --model {self.shape.name}", "leave one out, or name a preset")
        with told():
            apply_text(self.config, [text])
        self.said[name] = f"--set {text}"

    def forget_model(self) -> None:
        """A profile's model, when another is named: none of its dimensions belong to the new one."""
        from trainer.config.schema import Model

        self.config.model = Model(attention=self.config.model.attention)
        self.said = {key: source for key, source in self.said.items() if not key.startswith("model.")}


@contextmanager
def told() -> Iterator[None]:
    """The trainer's refusals as ours."""
    from trainer.errors import TrainerError

    try:
        yield
    except TrainerError as error:
        raise WrongInput(error.what, error.next_step) from None


def choice(text: str, flag: str, known: Iterable[str]) -> str:
    """`text` when it is one of `known`. Raises WrongInput naming the flag and the nearest."""
    from profiles.nearest import nearest

    words = list(known)
    if text in words:
        return text
    near = nearest(text, words)
    raise WrongInput(
        f"{flag} {text} is not known", f"did you mean {flag} {near}?" if near else f"one of: {', '.join(words)}"
    )
