"""The one protocol of all providers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from fleet.offers.offer import Found, Question
from fleet.providers.values import (
    Balance,
    Container,
    Credential,
    Instance,
    Login,
    Order,
    Shown,
    Ssh,
    Template,
    Volume,
)


class Provider(Protocol):
    """A small class per provider; adding one is adding a folder and a line in fleet/providers/catalogue.py.

    Every method raises Unable for what the provider cannot do, KeyRefused for a key it does not take, Throttled when
    it is asked too often, ProviderFailed when it does not answer as it should. Only `launch` and `create_*` bill or
    pile up: they send once; everything else is repeated where that is safe.
    """

    name: str
    # Method or feature -> what to do instead. "stopped disk": what a container has written is lost when its machine is
    # stopped, so that one which stands holds nothing.
    lacks: Mapping[str, str]

    def offers(self, question: Question, seen: str) -> Found:
        """What can be rented now."""

    def ensure_template(self, container: Container) -> Template:
        """The template of this content: found, else updated under its name, else created. Never two of one content."""

    def launch(self, order: Order) -> Instance:
        """Sends one create, once. Raises NotCreated, CreatedAnyway, Unclear."""

    def settle_in(self, instance: Instance, container: Container, tag: str) -> None:
        """What has to be done on the machine before the container runs; nothing where the provider starts it.

        The launcher calls it after the instance is RUNNING, with the container and tag of the order that made it, and
        whoever takes over a launch calls it again. It may take minutes (install, pull). Idempotent: a container of
        this tag that is there already is left alone. Returns: the container has been started (ready is asked
        elsewhere). Raises OutsideFailed for what may pass (no shell yet, a lost connection, a registry that did not
        answer): call it again until the stage's deadline. Raises CheckFailed (an old driver, other GPUs than ordered,
        a disk too small) or Refused (the host key changed) when this machine will never do: end it, remember it as
        bad, take the next offer. Raises WrongInput when no machine would do (a registry login that is refused, an
        image that is not there): end it and stop.
        """

    def shown(self, container: Container, order: Order) -> list[Shown]:
        """The exact requests that `ensure_template` and `launch` would send, secrets masked; asks nothing."""

    def instances(self) -> list[Instance]:
        """All of this account's, every page. An incomplete list raises ProviderFailed: it is never shown as whole."""

    def instance(self, id: str) -> Instance | None:
        """One; None only when the provider says that there is none."""

    def logs(self, id: str, tail: int = 100, follow: bool = False) -> Iterator[str]:
        """Lines of the container's output, newest last."""

    def ssh(self, id: str) -> Ssh | None:
        """Where its shell is; None: not yet, or not at all."""

    def stop(self, id: str) -> None:
        """Stops it; its disk bills on."""

    def start(self, id: str) -> None:
        """Starts a stopped one; there may be no GPU for it any more."""

    def terminate(self, id: str) -> None:
        """Ends it for good; none there is success. Repeats through 429 and 5xx, raises when it may still be there."""

    def balance(self) -> Balance:
        """What is left to spend."""

    def volumes(self) -> list[Volume]:
        """Storage that bills by itself."""

    def registries(self) -> list[Credential]:
        """Registry logins that the provider keeps for us."""

    def ensure_registry(self, login: Login) -> Credential:
        """The kept login of this name: found, else created once."""

    def keys(self) -> Sequence[str]:
        """Public SSH keys of the account, without comments; empty: none, or not told (`lacks` says which)."""
