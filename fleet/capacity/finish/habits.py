"""How the run is looked after, and what is assumed where nobody says it: every default is an assumption."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from profiles.errors import WrongInput

KINDS = ("on-demand", "spot")
DATA = ("stream", "download", "there")


@dataclass(frozen=True, slots=True)
class Habits:
    """kind: of the offer, decides how often a machine is taken away (interruptions.py).

    data: "stream" begins with the first shards while the others follow, "download" waits for all of them, "there" has
    them on the machine. tokenize_rate: tokens/s of preparing the data on the paid machine; 0: it was prepared before.
    save_steps: 0 takes the interval from Young and Daly. Every checkpoint is uploaded, and only what is whole there
    survives an interruption. Links in Mbit/s, disk in GB/s. Prices in USD (storage per GB and month of
    disk.MONTH_HOURS, traffic per GB), None: not known. disk_gb: GB that the machine has, None: not known.
    """

    kind: str = "on-demand"
    evaluate_every: int = 250  # steps, 0: never
    evaluate_tokens: int = 1_000_000  # the trainer's default
    save_steps: int = 0
    keep: int = 3  # newest checkpoints on the disk, the trainer's default; the best besides
    export: bool = True  # a bf16 export at the end
    data: str = "stream"
    tokenize_rate: float = 0.0
    image_bytes: float = 10e9  # what is pulled
    unpacked_bytes: float = 21e9  # what it is on the disk: an NGC image of 21 GB (facts of the base images)
    boot_seconds: float = 180.0  # providers tell of 1 to 5 minutes
    down_mbit: float = 1000.0
    up_mbit: float = 500.0
    disk_gbs: float = 1.0  # writing checkpoints: NVMe does 1 to 2 GB/s
    storage_price: float | None = None
    up_price: float | None = None
    down_price: float | None = None
    disk_gb: float | None = None

    def __post_init__(self) -> None:
        """Raises WrongInput."""
        if self.kind not in KINDS:
            raise WrongInput(f"unknown kind of offer `{self.kind}`", f"one of: {', '.join(KINDS)}")
        if self.data not in DATA:
            raise WrongInput(f"unknown way of the data `{self.data}`", f"one of: {', '.join(DATA)}")
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None or isinstance(value, str | bool):
                continue
            least = 0 if field.name not in ("down_mbit", "up_mbit", "disk_gbs", "keep") else 1e-6
            if not math.isfinite(value) or value < least:
                raise WrongInput(f"{field.name.replace('_', ' ')} is {value:g}", "give a number above 0")
