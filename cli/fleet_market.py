"""From flags to the offers that will do: profile, training, needs, providers; what `offers` and `deploy` share."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cli.fleet_asked import gpus_of, wishes_of
from cli.fleet_flags import Asked
from profiles.errors import WrongInput

if TYPE_CHECKING:
    from fleet.clock import Clock
    from fleet.deploy.image import Chosen
    from fleet.deploy.market import Market
    from fleet.deploy.needs import Needs
    from fleet.deploy.training import Training
    from fleet.deploy.wishes import Wishes
    from fleet.providers.provider import Provider
    from fleet.providers.values import Volume
    from images.workbench import Workbench
    from profiles.schema import Profile


@dataclass(frozen=True)
class Wanted:
    """What is looked for. profile None: a machine by its GPUs alone; training None: on the processor, or not known;
    flags: for the run script where no training is weighed."""

    wishes: Wishes
    needs: Needs
    profile: Profile | None
    training: Training | None
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


def wanted_of(
    asked: Asked, work: Workbench, profile: Profile | None, image: Chosen | None, volume: Volume | None = None
) -> Wanted:
    """The flags over a profile, with the size of the real image where there is one. volume: takes data, checkpoints and
    logs off the disk. Raises WrongInput, Refused: also for a volume that is too small."""
    from cli.fleet_training import training_of, unweighed_flags
    from fleet.deploy.needs import Needs, needs_of

    wishes = wishes_of(asked, work.settings, os.environ)
    named, count = gpus_of(asked)
    if profile is None:
        needs = Needs(named, count or 1, disk_gb=0 if image is None else gigabytes(image.unpacked))
        return Wanted(wishes, needs, None, None)
    if profile.gpu is None:
        unpacked = image.unpacked if image else 0.0
        disk, kept = on_disk(unpacked + ROOM, unpacked, volume)
        needs = needs_of(profile, counts=count, named=named, disk_bytes=disk)
        needs = replace(needs, volume=volume, volume_gb=kept, pulled_gb=image.size / 1e9 if image else 0.0)
        words, told = unweighed_flags(asked, profile, work.store.root)
        return Wanted(wishes, needs, profile, None, told, words)

    training, notes = training_of(asked, profile, work.store.root, count or profile.gpu.count)
    if image is not None:
        training = training.with_image(image.size, image.unpacked)
    disk, kept = on_disk(training.disk_bytes(), training.habits.unpacked_bytes, volume)
    needs = needs_of(profile, counts=count, named=named, any_gpu=wishes.any_gpu, disk_bytes=disk)
    needs = replace(needs, volume=volume, volume_gb=kept, pulled_gb=training.habits.image_bytes / 1e9)
    return Wanted(wishes, needs, profile, training, tuple(notes))


WORKING = 5e9  # bytes beside the image on the disk of a machine with a volume: compile caches, temporary files
ROOM = 10e9  # bytes for data, checkpoints and logs of a run that nobody plans: one on a processor


def on_disk(whole: float, unpacked: float, volume: Volume | None) -> tuple[float, int]:
    """Bytes of the machine's own disk, of the `whole` that a run needs, and GB of the volume. Raises Refused for one
    without room for them."""
    from fleet.deploy.volume import roomy

    if volume is None:
        return whole, 0
    own = min(whole, unpacked + WORKING)
    kept = gigabytes(whole - own)
    roomy(volume, kept)
    return own, kept


def gigabytes(size: float) -> int:
    """Whole GB, upwards."""
    return int(-(-size // 1e9))


def profile_of(asked: Asked, work: Workbench, image: Chosen | None = None, *, built: bool = False) -> Profile | None:
    """The profile: as named, of the image, of stoker.yaml or STOKER_PROFILE, else of the image built last.

    built: an image is needed, so its absence is an error; else None. Raises WrongInput.
    """
    from fleet.deploy.image import newest
    from profiles.load import load

    if name := asked.profile:
        return load(name)
    if image is not None and image.profile:
        return load(image.profile)
    if name := work.settings.get("profile", ""):
        return load(name)
    try:
        return load(str(newest(work)["plan"]["profile"]))
    except WrongInput:
        if built or not asked.gpu:
            raise
        return None


def providers_of(wishes: Wishes, work: Workbench, clock: Clock, environ: Mapping[str, str]) -> dict[str, Provider]:
    """Clients of those that are asked. Raises WrongInput without a key, telling where to get one."""
    from fleet.deploy.opening import chosen, opened

    return opened(chosen(wishes.providers, environ, Path.home()), work.store.root, environ, clock)


def market_of(
    wanted: Wanted, providers: Mapping[str, Provider], clock: Clock, bad: Mapping[str, set[str]] | None = None
) -> Market:
    """The offers of now."""
    from fleet.deploy.market import market
    from fleet.deploy.training import Weigher

    weigher = Weigher(wanted.training) if wanted.training is not None else None
    if weigher is not None:  # a batch that these GPUs cannot share is a wrong wish, not a lack of offers
        weigher.settled(wanted.needs.gpus[0], wanted.needs.count)
    return market(providers, wanted.needs, wanted.wishes, weigher, clock, bad)
