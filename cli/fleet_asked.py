"""The fleet's flags as values: what the machine may be, what it may cost, which GPUs."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from cli.amounts import number, whole
from cli.fleet_flags import Asked

if TYPE_CHECKING:
    from fleet.deploy.wishes import Wishes

MOST_USD, MOST_HOURS, MOST_MINUTES, MOST_GPUS = 1e6, 1e5, 1e5, 64


def wishes_of(asked: Asked, settings: Mapping[str, str], environ: Mapping[str, str]) -> Wishes:
    """Raises WrongInput for a number that makes no sense and an unknown provider, also for a secret in --env."""
    from fleet.deploy import secrets
    from fleet.deploy.container import checked_remote
    from fleet.deploy.opening import named
    from fleet.deploy.wishes import Wishes, checked_name

    texts = asked.provider or [settings.get("provider", "")]
    least = number(asked.min_reliability, "--min-reliability", 0, 1, zero=True) if asked.min_reliability else 0.9
    idle = number(asked.idle_minutes, "--idle-minutes", 0, MOST_MINUTES) if asked.idle_minutes else 30.0
    return Wishes(
        providers=named(texts),
        usd_hour=dollars(asked.max_price, "--max-price"),
        usd=dollars(asked.budget, "--budget"),
        hours=number(asked.hours, "--hours", 0, MOST_HOURS) if asked.hours else None,
        idle_minutes=idle,
        spot=asked.spot,
        any_gpu=asked.any_gpu,
        regions=tuple(part.strip() for text in asked.region for part in text.split(",") if part.strip()),
        min_reliability=least,
        remote=checked_remote(asked.remote or environ.get("STOKER_REMOTE", "")),
        name=checked_name(asked.name) if asked.name else "",
        env=secrets.typed(asked.env),
    )


def dollars(text: str, flag: str) -> Decimal | None:
    """A number of dollars above 0, exactly as typed to the micro-dollar; None: not given."""
    return Decimal(str(round(number(text, flag, 0, MOST_USD), 6))) if text else None


def gpus_of(asked: Asked) -> tuple[tuple[str, ...], int | None]:
    """Types and count that were named. Raises WrongInput for an unknown type, naming the nearest."""
    from profiles.gpus import gpu

    kinds = tuple(gpu(part.strip().lower()).key for text in asked.gpu for part in text.split(",") if part.strip())
    return kinds, whole(asked.gpu_count, "--gpu-count", 1, MOST_GPUS) if asked.gpu_count else None
