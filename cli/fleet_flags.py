"""The flags of the fleet's tasks, by what they are about, and their values as typed. Imports nothing: it is listed."""

from __future__ import annotations

from dataclasses import dataclass, field

JSON = "Print one JSON document on standard output."
MODEL = {
    "profile": "Profile name or path; none: stoker.yaml's, else that of the image built last.",
    "model-size": "small, medium, large, xlarge: nanochat of depth 12, 20, 32, 48.",
    "depth": "nanochat's dial: so many layers, 64 of width each.",
    "device-batch-size": "Sequences at once on one GPU; left out: what fits and is fastest.",
    "set": "Any key as in `train --set`: optim.lr=0.001. Repeatable.",
    "steps": "Optimizer steps to train; none: the profile's, else 20 tokens per parameter.",
    "tokens": "Or tokens to train on: 51.6B.",
}
MACHINE = {
    "provider": "runpod, vast, hyperbolic, local, or any: all there is a key for. Repeatable or a,b.",
    "gpu": "Type instead of the profile's; repeatable or a,b.",
    "gpu-count": "Of one machine; none: the profile's.",
    "any-gpu": "Also other types that the image runs on, with as much memory.",
    "max-price": "Most USD per hour of the whole machine, its disk included.",
    "region": "As the provider spells it, or its beginning: US. Repeatable.",
    "spot": "Interruptible machines too.",
    "min-reliability": "0 to 1, where it is told; none: 0.9.",
}
OFFERS: dict[str, dict[str, str]] = {
    "Training": MODEL,
    "Machine": MACHINE,
    "Output": {
        "dropped": "Also the offers that will not do, and why.",
        "json": JSON,
    },
}
DEPLOY: dict[str, dict[str, str]] = {
    "Training": {**MODEL, "image": "HOST/NAME:TAG or @sha256:... instead of the one built last."},
    "Machine": MACHINE,
    "Limits (the first one that is reached ends it)": {
        "budget": "USD for the whole run; none: the hours at the most that an hour may cost.",
        "hours": "That machines of it are rented; none: a fifth over the plan's longest.",
        "idle-minutes": "GPUs idle for so long end it; none: 30.",
    },
    "Run": {
        "name": "Of the run; none: the profile's.",
        "volume": "Name or id of an existing volume, mounted at /workspace, never deleted; local: also a folder.",
        "remote": "Store for its checkpoints: hf://, gs://, s3://, ssh://, file://; none: STOKER_REMOTE.",
        "env": "NAME=VALUE in the container; never a secret: those come from the environment. Repeatable.",
    },
    "Output": {
        "dry-run": "Print the exact requests, secrets masked; create nothing, keep nothing.",
        "yes": "Do not ask.",
        "auto-launch": "The same.",
        "json": JSON,
    },
}
OFFERS_HELP = {name: text for section in OFFERS.values() for name, text in section.items()}
DEPLOY_HELP = {name: text for section in DEPLOY.values() for name, text in section.items()}
MANY = ("provider", "gpu", "region", "set")


@dataclass(frozen=True)
class Asked:
    """What was typed; an empty text is a flag that was left out."""

    profile: str = ""
    image: str = ""
    model_size: str = ""
    depth: str = ""
    device_batch_size: str = ""
    set: list[str] = field(default_factory=list)
    steps: str = ""
    tokens: str = ""
    provider: list[str] = field(default_factory=list)
    gpu: list[str] = field(default_factory=list)
    gpu_count: str = ""
    any_gpu: bool = False
    max_price: str = ""
    region: list[str] = field(default_factory=list)
    spot: bool = False
    min_reliability: str = ""
    budget: str = ""
    hours: str = ""
    idle_minutes: str = ""
    name: str = ""
    volume: str = ""
    remote: str = ""
    env: list[str] = field(default_factory=list)
    dry_run: bool = False
    yes: bool = False
    auto_launch: bool = False
    dropped: bool = False
    json: bool = False
