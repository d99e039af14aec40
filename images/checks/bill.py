"""The bill of materials of an image, CycloneDX 1.6 JSON (ECMA-424): a function of plan, lock and base, nothing else.

The same image gives the same bytes on every machine: no clock, no random serial number, everything sorted.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from images.checks import purl
from images.checks.licences import Licence, licences
from images.locks.probe import facts_of
from images.oci.digest import hex_of
from images.oci.manifest import canonical
from images.plan import ImagePlan, Input, Layer, Wheel

if TYPE_CHECKING:
    from images.build import Resolved
    from images.builders.image import Image

SPEC = "1.6"
Component = dict[str, Any]
OTHERS = {"trainer": "stoker-trainer", "scripts": "stoker-scripts"}  # layer -> component


def sbom_of(image: Image, resolved: Resolved) -> bytes:
    """The SBOM of a built image. Fetches a wheel again when it is neither here nor remembered: its licence is in it."""
    return document(
        image.plan,
        image.digest,
        facts=facts_of(resolved.base.config_json),
        packages=debian_packages(resolved),
        licence=licences(image.plan, resolved.bench.store, resolved.fetch_wheels),
        sources={pin.filename: pin.sdist for pin in resolved.locked.pins if pin.sdist},
    )


def document(
    plan: ImagePlan,
    digest: str,
    *,
    facts: Mapping[str, str],
    packages: Mapping[str, str],
    licence: Mapping[str, Licence],
    sources: Mapping[str, tuple[str, str]],
) -> bytes:
    """The bytes of the SBOM.

    digest: of the image's manifest; facts: name -> version of what the base brings; packages: of a bootstrapped
    Debian; licence: wheel file name -> CycloneDX' licence; sources: wheel file name -> (sdist, its sha256).
    """
    image = image_component(plan, digest)
    base = base_component(plan, facts)
    debian = [debian_component(plan, name, version) for name, version in packages.items()]
    wheels = [wheel_component(wheel, layer, licence, sources) for layer in plan.layers for wheel in layer.wheels]
    files = [files_component(plan, layer) for layer in plan.layers if layer.files]
    foundation = [system_component(name) for name in (plan.foundation.packages if plan.foundation else ())]
    direct = [base, *wheels, *files, *foundation]
    return canonical(
        {
            "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": SPEC,
            "serialNumber": serial_number(digest),
            "version": 1,
            "metadata": {
                "timestamp": plan.created,
                "tools": {"components": [{"type": "application", "name": "stoker", "version": plan.version}]},
                "component": image,
            },
            "components": ordered([*direct, *debian]),
            "dependencies": sorted(
                [
                    {"ref": image["bom-ref"], "dependsOn": refs(direct)},
                    {"ref": base["bom-ref"], "dependsOn": refs(debian)},
                ],
                key=lambda row: str(row["ref"]),
            ),
            # Of a base from a registry only its facts are known, and of wheels not which needs which.
            "compositions": [{"aggregate": "incomplete", "assemblies": [base["bom-ref"], image["bom-ref"]]}],
        }
    )


def serial_number(digest: str) -> str:
    """The document's serial number, a function of the image."""
    return f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'oci:{digest}')}"


def image_component(plan: ImagePlan, digest: str) -> Component:
    name = f"stoker-{plan.profile}"
    reference = purl.oci(name, digest, arch=architecture(plan), tag=plan.tag)
    return {
        "type": "container",
        "bom-ref": reference,
        "purl": reference,
        "name": name,
        "version": plan.tag,
        "hashes": sha256(hex_of(digest)),
        "properties": properties({"commit": plan.commit, "plan": plan.hash, "platform": plan.platform}),
    }


def base_component(plan: ImagePlan, facts: Mapping[str, str]) -> Component:
    """The base image, with what its config says it holds as properties."""
    repository, _, tag = plan.base.name.rpartition(":")
    if "/" in tag or not repository:  # a name without a tag; its colon belongs to the host's port
        repository, tag = plan.base.name, ""
    short = repository.rpartition("/")[2]
    url = repository if plan.base.kind == "registry" else ""
    reference = purl.oci(short, plan.base.digest, arch=architecture(plan), repository_url=url, tag=tag)
    told = {f"base:{name}": value for name, value in {"python": plan.base.python, **facts}.items()}
    return {
        "type": "container",
        "bom-ref": reference,
        "purl": reference,
        "name": repository,
        "version": tag or plan.base.digest,
        "hashes": sha256(hex_of(plan.base.digest)),
        "properties": properties({"kind": plan.base.kind, **told}),
    }


def wheel_component(
    wheel: Wheel, layer: Layer, licence: Mapping[str, Licence], sources: Mapping[str, tuple[str, str]]
) -> Component:
    reference = purl.pypi(wheel.name, wheel.version)
    told = {"wheel": wheel.filename, "layer": layer.name}
    if source := sources.get(wheel.filename):
        told |= {"built-from": source[0], "built-from-sha256": source[1]}
    found = {
        "type": "library",
        "bom-ref": reference,
        "purl": reference,
        "name": wheel.name,
        "version": wheel.version,
        "hashes": sha256(wheel.sha256),
        "properties": properties(told),
    }
    if known := licence.get(wheel.filename):
        found["licenses"] = [known]
    return found


def debian_component(plan: ImagePlan, name: str, version: str) -> Component:
    suite = plan.base.name.rpartition(":")[2]
    reference = purl.debian(name, version, arch=architecture(plan), distro=suite)
    return {"type": "library", "bom-ref": reference, "purl": reference, "name": name, "version": version}


def system_component(name: str) -> Component:
    """A package of the foundation: asked for by name, its version is what apt chose on the day it was built."""
    reference = f"foundation:{name}"
    return {"type": "library", "bom-ref": reference, "name": name, "properties": properties({"layer": "foundation"})}


def files_component(plan: ImagePlan, layer: Layer) -> Component:
    """Our own files, one component with each file and its hash inside."""
    name = OTHERS.get(layer.name, f"stoker-{layer.name}")
    return {
        "type": "application",
        "bom-ref": f"layer:{layer.name}",
        "name": name,
        "version": plan.version,
        "licenses": [{"license": {"id": "Apache-2.0"}}],
        "properties": properties({"layer": layer.name}),
        "components": ordered(file_component(one) for one in layer.files),
    }


def file_component(one: Input) -> Component:
    found = {"type": "file", "bom-ref": f"file:/{one.target}", "name": f"/{one.target}"}
    return (
        {**found, "properties": properties({"link": one.link})} if one.link else {**found, "hashes": sha256(one.sha256)}
    )


def debian_packages(resolved: Resolved) -> Mapping[str, str]:
    """Package -> version of a bootstrapped base: of the very base that was used, not of one that was locked once."""
    plan, locked = resolved.plan, resolved.locked
    if plan.base.kind != "debian":
        return {}
    if locked.digest == plan.base.digest and locked.packages:
        return locked.packages
    from images.checks.packages import bootstrapped

    return bootstrapped(resolved.bench.store, plan.base.digest)


def architecture(plan: ImagePlan) -> str:
    return plan.platform.partition("/")[2]


def sha256(digits: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": digits}]


def properties(values: Mapping[str, str]) -> list[dict[str, str]]:
    """In our own name space, as the specification asks (cyclonedx-property-taxonomy)."""
    return [{"name": f"stoker:{name}", "value": value} for name, value in sorted(values.items())]


def ordered(components: Iterable[Component]) -> list[Component]:
    """Sorted, each bom-ref once: the schema wants them unique."""
    found = {component["bom-ref"]: component for component in components}
    return [found[name] for name in sorted(found)]


def refs(components: Iterable[Component]) -> list[str]:
    return sorted({component["bom-ref"] for component in components})
