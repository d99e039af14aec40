"""A deployment before anything is created: one value that says what would be rented, for how much, and what ends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from fleet.deploy import candidates, secrets, traffic, volume
from fleet.deploy.candidates import Priced
from fleet.deploy.container import Recipe, stored
from fleet.deploy.container import recipe as recipe_of
from fleet.deploy.image import Chosen
from fleet.deploy.limits import bounded, doubts
from fleet.deploy.market import Market
from fleet.deploy.needs import Needs
from fleet.deploy.wishes import Wishes
from fleet.ledger.values import Run
from fleet.offers.offer import ON_DEMAND
from profiles.errors import CheckFailed, Refused

if TYPE_CHECKING:
    from fleet.launch.candidate import Candidate
    from fleet.providers.provider import Provider
    from profiles.schema import Profile

POLICY = {False: "any", True: "spot-then-on-demand"}  # fleet/resume/policy.py


@dataclass(frozen=True, slots=True)
class Deployment:
    """tried: the machines in the order in which they are tried, all at or below `usd_hour`; notes: what a reader should
    know before saying yes."""

    name: str
    profile: str
    image: Chosen
    needs: Needs
    market: Market
    tried: tuple[Priced, ...]
    usd_hour: Decimal
    recipe: Recipe
    spot: bool
    notes: tuple[str, ...] = ()
    goal: Mapping[str, Any] = field(default_factory=dict)

    @property
    def first(self) -> Priced:
        """The one that is rented if it is still there."""
        return self.tried[0]

    def run(self) -> Run:
        """The ledger's row: everything that a relaunch needs, without a secret."""
        return Run(
            name=self.name,
            profile=self.profile,
            image=self.image.reference,
            plan={
                "container": stored(self.recipe.on(self.first)),
                "goal": dict(self.goal),
                "machine": self.first.to_json(),
                "volume": volume.stored(self.needs.volume),
                "needs": {
                    "gpus": list(self.needs.gpus),
                    "count": self.needs.count,
                    "disk_gb": self.needs.disk_gb,
                    "volume_gb": self.needs.volume_gb,
                    "pulled_gb": self.needs.pulled_gb,
                },
                "traffic": traffic.stored(self.first, self.recipe.limits),
            },
            limits=self.recipe.limits,
            policy=POLICY[self.spot],
            remote=self.recipe.remote,
        )

    def candidates(self, providers: Mapping[str, Provider], now: datetime) -> list[Candidate]:
        """As the launcher takes them. now: from when on the hours count."""
        from fleet.launch.candidate import Candidate

        return [
            Candidate(providers[one.offer.provider], one.offer, self.recipe.on(one, now), one.bid) for one in self.tried
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain values; nothing secret."""
        limits = self.recipe.limits
        return {
            "run": self.name,
            "profile": self.profile,
            "image": self.image.reference,
            "image_bytes": self.image.size,
            "private": self.image.login is not None,
            "remote": self.recipe.remote or None,
            "volume": volume.stored(self.needs.volume),
            "secrets": sorted(self.recipe.secrets),
            "most_usd_hour": str(self.usd_hour),
            "traffic_usd": str(self.first.traffic_usd),
            "limits": {
                "usd": None if limits.usd is None else str(limits.usd),
                "usd_hour": None if limits.usd_hour is None else str(limits.usd_hour),
                "hours": limits.hours,
                "idle_minutes": limits.idle_minutes,
            },
            "first": self.first.to_json(),
            "others": len(self.tried) - 1,
            "notes": list(self.notes),
            "failures": dict(self.market.failures),
        }


def assemble(
    profile: Profile,
    image: Chosen,
    needs: Needs,
    market: Market,
    wishes: Wishes,
    *,
    name: str,
    held: Mapping[str, str],
    public_key: str = "",
    goal: Mapping[str, Any] | None = None,
    assumed: Sequence[str] = (),
    flags: Sequence[str] = (),
) -> Deployment:
    """Everything decided. held: the secrets that are set; assumed: what the plan rests on; flags: for the run
    script where nothing is planned.

    Raises CheckFailed when no offer will do (with the tight constraint), Refused for what nothing would stop, and for
    an interruptible machine that would take everything with it.
    """
    market.refuse_empty()
    ranked = list(market.ranked)
    most = candidates.cap(ranked, wishes)
    tried = candidates.shortlist(ranked, most)
    if not tried:
        raise CheckFailed(f"no offer costs at most {most:.2f} USD/h", f"--max-price {ranked[0].usd_hour:.2f}")
    first = tried[0]
    limited = bounded(traffic.set_aside(wishes, first), first, most)
    notes = [
        *assumed,
        *limited.notes,
        *traffic.notes(wishes, first),
        *doubts(wishes, first, traffic.whole(limited.limits, first)),
        *about(wishes, needs, tried, image, held, public_key),
    ]
    made = recipe_of(
        profile,
        name,
        image,
        needs,
        limited.limits,
        remote=wishes.remote,
        public_key=public_key,
        env=wishes.env,
        secrets=held,
        flags=flags,
        traffic=first.traffic_usd,
    )
    return Deployment(
        name=name,
        profile=profile.name,
        image=image,
        needs=needs,
        market=market,
        tried=tuple(tried),
        usd_hour=most,
        recipe=made,
        spot=wishes.spot,
        notes=tuple(notes),
        goal=goal or {},
    )


def about(
    wishes: Wishes, needs: Needs, tried: list[Priced], image: Chosen, held: Mapping[str, str], public_key: str
) -> list[str]:
    """What else may surprise. Raises Refused for an interruptible machine without a remote store."""
    notes = []
    spot = [one for one in tried if one.offer.kind != ON_DEMAND]
    if not wishes.remote:
        if spot:
            raise Refused(
                "an interruptible machine is taken away without a word, and everything on it is lost: no remote is set",
                "--remote hf://USER/NAME/RUN (or s3://, gs://, ssh://), or leave --spot out",
            )
        notes.append(without_remote(needs))
    if needs.volume is not None and needs.volume.machine:
        notes.append(f"volume {volume.named(needs.volume)} is on one machine: when that is lost, so is what is on it")
    if missing := secrets.missing_for(wishes.remote, held):
        notes.append(f"{' and '.join(missing)} is not set, which {wishes.remote.partition(':')[0]}:// may need")
    if wishes.remote.startswith("gs://"):
        notes.append("gs:// needs a file with a key on the machine, and files are not sent: use a network volume")
    if image.login is not None:
        who = f"{image.login.registry} as {image.login.user}"
        notes.append(f"the image is private: your login at {who} is kept at the provider")
    if needs.volume is not None and needs.volume.usd_month != 0:
        price = volume.price_of(needs.volume)
        notes.append(f"volume {volume.named(needs.volume)} bills {price} by itself, and goes on when the run has ended")
    if not public_key:
        notes.append("no public SSH key (~/.ssh/*.pub, PUBLIC_KEY): nobody can log in on the machine")
    return notes


def without_remote(needs: Needs) -> str:
    """What becomes of a run's checkpoints that go to no store."""
    if needs.volume is not None:
        where = volume.named(needs.volume)
        return f"no remote store: checkpoints are on volume {where} alone; --remote hf://USER/NAME/RUN keeps a second"
    words = "no remote store: what is on the machine is lost with it, and when the run is done it bills on until"
    return f"{words} you end it or its limits do; --remote hf://USER/NAME/RUN"
