"""What differs between two images: manifests and configs first, then packages, then files. Bytes are read last."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from images.checks import files, packages
from images.checks.find import find
from images.checks.report import Change, Size
from images.checks.subject import Subject
from images.workbench import Workbench
from profiles.errors import StokerError

SETTINGS = {
    "entrypoint": "Entrypoint",
    "command": "Cmd",
    "user": "User",
    "working directory": "WorkingDir",
    "stop signal": "StopSignal",
    "healthcheck": "Healthcheck",
}
Plan = Mapping[str, Any]


def compare(bench: Workbench, a: str, b: str) -> dict[str, Any]:
    """The differences as nested plain values; what does not differ is left out, but for `same` and the sizes.

    a, b: local tag (or its beginning), digest, or HOST/NAME:TAG. Sizes are in bytes, compressed. Raises WrongInput for
    names that mean nothing here, OutsideFailed.
    """
    left = find(bench, a)
    right = find(bench, b, left.platform)
    report: dict[str, Any] = {
        "same": left.manifest.digest == right.manifest.digest,
        "a": {"name": left.name, "digest": left.manifest.digest, "size": Size(left.size)},
        "b": {"name": right.name, "digest": right.manifest.digest, "size": Size(right.size)},
        "change": Change(right.size - left.size),
        "layers": layers(left, right),
    }
    if report["same"]:
        return report
    plans = plan_of(bench, left), plan_of(bench, right)
    notes: list[str] = []
    found = {
        "settings": settings(left, right),
        "packages": package_changes(left, right, plans, notes),
        "files": file_changes(left, right, plans, notes),
        "notes": notes,
    }
    return report | {name: value for name, value in found.items() if value}


def layers(left: Subject, right: Subject) -> dict[str, Any]:
    """Shared, added and removed layers by digest, with the names we gave them."""
    before = {layer.digest: layer for layer in left.manifest.layers}
    after = {layer.digest: layer for layer in right.manifest.layers}
    shared = [layer for digest, layer in before.items() if digest in after]
    names = layer_names(left) | layer_names(right)

    def listed(these: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Size]:
        return {
            f"{names.get(digest, 'base')} {digest[7:19]}": Size(layer.size)
            for digest, layer in these.items()
            if digest not in others
        }

    found: dict[str, Any] = {
        "shared": {"count": len(shared), "size": Size(sum(layer.size for layer in shared))},
        "removed": listed(before, after),
        "added": listed(after, before),
    }
    return {name: value for name, value in found.items() if value}


def layer_names(subject: Subject) -> dict[str, str]:
    return {own.descriptor.digest: own.name for own in subject.own or ()}


def settings(left: Subject, right: Subject) -> dict[str, Any]:
    """Environment, labels, ports and what a container starts with."""
    found: dict[str, Any] = {
        "env": changed(left.env, right.env),
        "labels": changed(left.labels, right.labels),
        "ports": changed(
            dict.fromkeys(left.settings.get("ExposedPorts") or {}, "open"),
            dict.fromkeys(right.settings.get("ExposedPorts") or {}, "open"),
        ),
    }
    before, after = left.settings, right.settings
    for name, key in SETTINGS.items():
        if (before.get(key) or None) != (after.get(key) or None):
            found[name] = f"{shown(before.get(key))} -> {shown(after.get(key))}"
    if left.platform != right.platform:
        found["platform"] = f"{left.platform} -> {right.platform}"
    return {name: value for name, value in found.items() if value}


def shown(value: Any) -> str:
    return "none" if not value else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str]:
    """name -> 'old -> new', '+ new' or '- old', sorted by name."""
    found = {}
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old != new:
            found[name] = f"+ {new}" if old is None else f"- {old}" if new is None else f"{old} -> {new}"
    return found


def plan_of(bench: Workbench, subject: Subject) -> Plan | None:
    """The plan of an image that was built here: the one whose digest is exactly this image's."""
    tag = subject.repository.reference.tag if subject.repository is not None else subject.name
    candidates = [bench.store.images / f"{tag}.json"] if tag else []
    for path in [*candidates, *sorted(bench.store.images.glob("*.json"))]:
        try:
            row = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            continue
        if row.get("digest") == subject.manifest.digest:
            plan: Plan = row["plan"]
            return plan
    return None


def package_changes(
    left: Subject, right: Subject, plans: tuple[Plan | None, Plan | None], notes: list[str]
) -> dict[str, str]:
    """Python and Debian packages, each with its versions."""
    both = [packages_of(subject, plan) for subject, plan in zip((left, right), plans, strict=True)]
    if both[0] is None or both[1] is None:
        notes.append("packages: told by neither plan nor SBOM; those found in the layers that were read are compared")
        return {}
    # Where one side does not know a whole kind, every package of that kind would look new.
    kinds = [{name.partition(" ")[0] for name in found} for found in both if found is not None]
    if "debian" in kinds[0] ^ kinds[1]:
        notes.append("Debian packages are known of one of the two only, and are left out")
        both = [{n: v for n, v in (found or {}).items() if not n.startswith("debian ")} for found in both]
    return changed(both[0] or {}, both[1] or {})


def packages_of(subject: Subject, plan: Plan | None) -> dict[str, str] | None:
    """From the plan, else from the attached SBOM. None: neither is there."""
    from images.checks import sbom

    if plan is not None:
        return packages.of_plan(plan, subject.store)
    if subject.repository is None:
        return None
    try:
        documents = sbom.read_all(subject.repository, subject.manifest.digest)
    except StokerError:
        return None
    return packages.of_sbom(documents[0]) if documents else None


def file_changes(
    left: Subject, right: Subject, plans: tuple[Plan | None, Plan | None], notes: list[str]
) -> dict[str, Any]:
    """Files of our layers: from both plans without reading a byte, else by reading the layers that differ."""
    if plans[0] is not None and plans[1] is not None:
        return files.changes(files.of_plan(plans[0]), files.of_plan(plans[1]))
    common = {layer.digest for layer in left.manifest.layers} & {layer.digest for layer in right.manifest.layers}
    before, after = (files.of_layers(subject, common, notes) for subject in (left, right))
    found = files.changes(before, after)
    if told := changed(packages.of_files(before), packages.of_files(after)):
        found["packages in these layers"] = told
    return found
