"""From a profile, its lock and the checkout to an image plan: everything decided here, nothing done yet."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from images.checkout import Checkout
from images.layers import secrets, tree
from images.layers.sources import Sources
from images.locks.wheels import Pin
from images.plan import APP, BIN, HOME, SITE, Base, Config, Foundation, ImagePlan, Input, Layer, Wheel

if TYPE_CHECKING:
    from profiles.bases import DriverFloor
    from profiles.schema import Profile

HEAVY = 50_000_000  # bytes; a wheel from this size on has a layer of its own, so that a small bump does not resend it


def resolve(
    profile: Profile,
    checkout: Checkout,
    base: Base,
    base_entrypoint: Sequence[str],
    wheels: Sequence[Pin],
    *,
    version: str,
    platform: str = "linux/amd64",
    compression: Literal["gzip", "zstd"] = "gzip",
    driver: DriverFloor | None = None,
) -> tuple[ImagePlan, Sources]:
    """The plan of one platform's image, and where the content of its files comes from.

    Raises Refused when a file or value looks like a secret, WrongInput for files that cannot be in a layer.
    """
    sources = Sources(checkout.root)
    scripts = script_inputs(profile, version, base, base_entrypoint, sources, driver)
    trainer = tree.tree(checkout.root, "trainer", f"{APP}/trainer")
    plan = ImagePlan(
        profile=profile.name,
        version=version,
        commit=checkout.commit,
        dirty=checkout.dirty,
        created=checkout.created,
        platform=platform,
        base=base,
        foundation=Foundation(tuple(sorted(profile.system.packages))) if profile.system.packages else None,
        layers=(*wheel_layers(wheels), Layer("scripts", scripts), Layer("trainer", trainer)),
        config=config(profile, checkout, base, base_entrypoint, version),
        compression=compression,
        annotations=tuple(sorted(oci_annotations(profile.name, checkout, base, version).items())),
    )
    refuse_secrets(plan, sources)
    return plan, sources


def wheel_layers(pins: Sequence[Pin]) -> tuple[Layer, ...]:
    """Heavy wheels in layers of their own, heaviest first; the others together."""
    wheels = [Wheel(p.name, p.version, p.filename, p.sha256, p.size) for p in sorted(pins, key=lambda p: p.name)]
    heavy = sorted((w for w in wheels if w.size >= HEAVY), key=lambda w: (-w.size, w.name))
    light = tuple(w for w in wheels if w.size < HEAVY)
    layers = [Layer(f"wheels-{wheel.name}", wheels=(wheel,)) for wheel in heavy]
    return (*layers, Layer("wheels", wheels=light)) if light else tuple(layers)


def script_inputs(
    profile: Profile,
    version: str,
    base: Base,
    base_entrypoint: Sequence[str],
    sources: Sources,
    driver: DriverFloor | None,
) -> tuple[Input, ...]:
    """The run scripts, the profile as the trainer sees it, and the .pth file that lets Python find what we added.

    A .pth in the base's own dist-packages puts our folders behind the base's on sys.path: what we add can never
    shadow NVIDIA's torch, and login shells and ssh sessions find it without PYTHONPATH.
    """
    found = []
    for template in sorted((sources.root / "templates" / "run").iterdir()):
        if template.is_file():
            name = template.name.removesuffix(".j2").removesuffix(".sh").removesuffix(".py")
            text = render_script(template, profile, base_entrypoint)
            found.append(sources.render(f"run/{template.name}", f"{BIN}/{name}", text, 0o755))
    facts = json.dumps(baked_profile(profile, version, driver), indent=1, sort_keys=True, ensure_ascii=False)
    found.append(sources.render("profile.json", f"{HOME}/profile.json", facts + "\n"))
    found.append(sources.render("stoker.pth", f"{base.site_packages}/stoker.pth", f"/{APP}\n/{SITE}\n"))
    return tuple(sorted(found, key=lambda one: one.target))


def render_script(template: Path, profile: Profile, base_entrypoint: Sequence[str]) -> str:
    """A run script; only files ending in .j2 are templates."""
    text = template.read_text(encoding="utf-8")
    if template.suffix != ".j2":
        return text
    import jinja2

    env = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)
    return env.from_string(text).render(profile=profile, base_entrypoint=list(base_entrypoint))


def baked_profile(profile: Profile, version: str, driver: DriverFloor | None) -> dict[str, Any]:
    """What the run scripts and the trainer need of the profile and the GPU table, as one file beside them."""
    gpu = None
    if profile.gpu is not None:
        from profiles.gpus import gpu as lookup

        row = lookup(profile.gpu.type)
        gpu = {
            "type": profile.gpu.type,
            "count": profile.gpu.count,
            "compute_capability": row.cc,
            "memory_gb": row.memory_gb,
        }
    return {
        "profile": profile.name,
        "version": version,
        "gpu": gpu,
        "precision": profile.precision,
        "parallelism": profile.parallelism.model_dump(),
        "attention": profile.attention,
        "driver_floor": driver.branch if driver else None,
        "driver_compat": list(driver.compat) if driver else [],
        "volume": profile.volume,
        "trainer": profile.trainer,
    }


def config(profile: Profile, checkout: Checkout, base: Base, base_entrypoint: Sequence[str], version: str) -> Config:
    """Our entrypoint first, the base's own behind it: it runs `exec "$@"`, so NGC's set-up and banner still come."""
    env = {**profile.env, "STOKER_PROFILE": profile.name}
    return Config(
        env=tuple(sorted(env.items())),
        entrypoint=(f"/{BIN}/entrypoint", *base_entrypoint),
        cmd=(f"/{BIN}/run",),
        workdir=f"/{HOME}",
        user=profile.user,
        ports=tuple(sorted(profile.ports)),
        labels=tuple(
            sorted({**oci_annotations(profile.name, checkout, base, version), **stoker_labels(profile)}.items())
        ),
        healthcheck=(f"/{BIN}/healthcheck",),
    )


def stoker_labels(profile: Profile) -> dict[str, str]:
    """What verify, images and the fleet read back from an image alone."""
    gpu = f"{profile.gpu.count}x{profile.gpu.type}" if profile.gpu else "none"
    return {"stoker.profile": profile.name, "stoker.precision": profile.precision, "stoker.gpu": gpu}


def oci_annotations(name: str, checkout: Checkout, base: Base, version: str) -> Mapping[str, str]:
    """The OCI annotations, mirrored as labels for tools that see only the config (image-spec annotations.md).

    `created` is the commit's time. base.name and base.digest make a later rebase possible.
    """
    prefix = "org.opencontainers.image."
    return {
        prefix + "title": f"stoker-{name}",
        prefix + "version": version,
        prefix + "created": checkout.created,
        prefix + "revision": checkout.commit + ("-dirty" if checkout.dirty else ""),
        prefix + "base.name": base.name,
        prefix + "base.digest": base.digest,
    }


def refuse_secrets(plan: ImagePlan, sources: Sources) -> None:
    """Nothing that looks like a key or token enters a layer, a label or the environment."""
    findings = secrets.scan_env(plan.config.env)
    findings += secrets.scan_env([*plan.config.labels, *plan.annotations], where="label")
    for layer in plan.layers:
        findings += secrets.scan_layer(layer, sources)
        findings += [found for wheel in layer.wheels for found in secrets.scan_name(wheel.filename)]
    secrets.refuse(findings)
