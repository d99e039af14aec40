"""The flags of `resume` and `watch`, by what they are about, and their values as typed. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field

from cli.fleet_flags import JSON, MODEL

RESUME: dict[str, dict[str, str]] = {
    "Where (left out: as it was deployed)": {
        "same": "The machine it had last when that stands with what was not sent, else its provider and GPU.",
        "any": "Whatever provider there is a key for.",
        "spot-then-on-demand": "Interruptible machines until three were lost, on-demand ones after.",
        "provider": "From these alone: runpod, vast, hyperbolic, local. Repeatable or a,b.",
        "gpu-count": "Of one machine; none: as before.",
        "max-price": "Most USD per hour of the whole machine; none: as before.",
    },
    "Limits": {
        "budget": "USD for the whole run, what is spent included; none: as before.",
        "hours": "That its machines are rented, all together; none: as before.",
    },
    "When": {
        "force": "Also when its machine lives or holds what was not sent: it is ended; or the run ended by itself.",
        "from-start": "Begin anew when no checkpoint is at its remote.",
    },
    "Without the ledger (as it was deployed)": {
        "remote": "Store of its checkpoints: hf://, gs://, s3://, ssh://, file://.",
        **{name: text for name, text in MODEL.items() if name != "device-batch-size"},
        "steps": "Optimizer steps in all; with the ledger: more of them than before go on after the end.",
        "image": "HOST/NAME:TAG or @sha256:... instead of the one built last.",
    },
    "Output": {"yes": "Do not ask.", "json": JSON},
}
RESUME_HELP = {"run": "Name of the run, as `status` lists it."} | {
    name: text for section in RESUME.values() for name, text in section.items()
}


@dataclass(frozen=True)
class Back:
    """What was typed; an empty text is a flag that was left out."""

    run: str
    same: bool = False
    any: bool = False
    spot_then_on_demand: bool = False
    provider: list[str] = field(default_factory=list)
    gpu_count: str = ""
    max_price: str = ""
    budget: str = ""
    hours: str = ""
    force: bool = False
    from_start: bool = False
    remote: str = ""
    profile: str = ""
    image: str = ""
    model_size: str = ""
    depth: str = ""
    set: list[str] = field(default_factory=list)
    steps: str = ""
    tokens: str = ""
    yes: bool = False
    json: bool = False
