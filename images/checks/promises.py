"""What an image's manifest and config say, checked against each other. Pure: values in, lists of faults out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from images import git
from images.checks.subject import OURS, PREFIX, Subject, base_config
from images.layers.names import MOUNTED
from images.oci import media
from images.oci.manifest import Manifest
from images.plan import BIN, HOME

TAG = re.compile(
    r"(?P<profile>.+)-(?P<version>[^-]+)-g(?P<commit>[0-9a-f]{12})(?P<dirty>-dirty)?-(?P<plan>[0-9a-f]{12})"
)
ANNOTATIONS = ("title", "version", "created", "revision", "base.name", "base.digest")
LABELS = ("stoker.profile", "stoker.precision", "stoker.gpu", "stoker.plan")
OUR_ENTRYPOINT = f"/{BIN}/entrypoint"
ENTRYPOINT = re.compile(r"ENTRYPOINT (\[.*\])")


def index_faults(index: Manifest) -> list[str]:
    """An index lists manifests of its own family, one per platform."""
    faults, seen = [], set()
    for child in index.children:
        if child.media_type != index.family.manifest:
            faults.append(f"a {index.family.name} index lists a {child.media_type}")
        platform = json.dumps(child.extra.get("platform"), sort_keys=True)
        if platform in seen and "unknown" not in platform:
            faults.append(f"two images for {platform}")
        seen.add(platform)
    return faults


def media_faults(manifest: Manifest) -> list[str]:
    """Every type of one family: engines refuse a mixture, each at another point."""
    family = manifest.family
    faults = []
    if manifest.json.get("mediaType") not in (None, manifest.media_type):
        faults.append(f"the manifest calls itself {manifest.json.get('mediaType')}")
    if manifest.config.media_type != family.config:
        faults.append(f"the config is {manifest.config.media_type} in a {family.name} manifest")
    allowed = {family.gzip_layer, family.zstd_layer, media.OCI_LAYER if family is media.OCI else media.DOCKER_LAYER}
    for layer in manifest.layers:
        foreign = media.foreign(layer.media_type) and (family is media.OCI) == layer.media_type.startswith(
            "application/vnd.oci."
        )
        if layer.media_type not in allowed and not foreign:
            faults.append(f"layer {layer.digest[:19]} is {layer.media_type} in a {family.name} manifest")
    if not family.annotations and (manifest.json.get("annotations") or manifest.json.get("subject")):
        faults.append("a Docker manifest has no annotations and no subject")
    return faults


def history_faults(subject: Subject) -> list[str]:
    """As many diff_ids as layers, and as many history entries where there is a history (image-spec config.md)."""
    layers, diff_ids = len(subject.manifest.layers), len(subject.diff_ids)
    faults = [] if diff_ids == layers else [f"{layers} layers, but {diff_ids} diff_ids"]
    if subject.config.get("history") and len(subject.history) != layers:
        faults.append(f"{layers} layers, but {len(subject.history)} entries of history")
    return faults


def label_faults(subject: Subject, tag: str | None) -> list[str]:
    """All labels there, equal to the annotations, and to what the tag says."""
    labels = subject.labels
    wanted = [PREFIX + name for name in ANNOTATIONS] + list(LABELS)
    faults = [f"no label {name}" for name in wanted if not labels.get(name)]
    if subject.manifest.family.annotations:
        annotations: Mapping[str, str] = subject.manifest.json.get("annotations") or {}
        faults += [
            f"annotation {name} is {annotations.get(name)!r}, the label {labels.get(name)!r}"
            for name in (PREFIX + name for name in ANNOTATIONS)
            if annotations.get(name) != labels.get(name)
        ]
    match = TAG.fullmatch(tag or "")
    return faults + (tag_faults(match, labels) if match else [])


def tag_faults(match: re.Match[str], labels: Mapping[str, str]) -> list[str]:
    """The parts of the tag against the labels they come from."""
    revision = labels.get(PREFIX + "revision", "")
    told = {
        "profile": labels.get("stoker.profile", ""),
        "version": labels.get(PREFIX + "version", ""),
        "commit": revision.removesuffix("-dirty")[:12],
        "plan": labels.get("stoker.plan", "")[:12],
    }
    faults = [
        f"the tag says {part} {match[part]!r}, the labels say {value!r}"
        for part, value in told.items()
        if match[part] != value
    ]
    if bool(match["dirty"]) != revision.endswith("-dirty"):
        faults.append("the tag and the label disagree whether the checkout was dirty")
    return faults


def label_detail(subject: Subject, tag: str | None) -> str:
    plan = subject.labels.get("stoker.plan", "")[:12]
    return f"plan {plan}" + ("" if TAG.fullmatch(tag or "") else "; the tag is not one of ours")


def created_faults(subject: Subject, root: Path) -> list[str]:
    """One time everywhere, and the commit's where this checkout has the commit.

    An engine before 23.0 puts its clock into the config, so only our own builder's config has to agree.
    """
    label = subject.labels.get(PREFIX + "created", "")
    faults = []
    ours = [item for item in subject.config.get("history") or [] if item.get("comment") == OURS]
    if ours and subject.config.get("created") != label:
        faults.append(f"the config says {subject.config.get('created')}, the label {label!r}")
    faults += [f"a history entry says {item.get('created')}" for item in ours if item.get("created") != label]
    known = commit_time(root, subject.labels.get(PREFIX + "revision", ""))
    if known is not None and label and known != label:
        faults.append(f"the label says {label}, the commit is of {known}")
    return faults


def commit_time(root: Path, revision: str) -> str | None:
    """RFC 3339 time of a commit this checkout has. A dirty tree has its commit's time too."""
    commit = revision.removesuffix("-dirty")
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        return None
    found = git.output(root, "log", "-1", "--format=%ct", "--no-show-signature", commit)
    return datetime.fromtimestamp(int(found), UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if found else None


def entrypoint_faults(subject: Subject) -> list[str]:
    """Ours first, the base's own behind it: without that NGC's set-up never runs."""
    entrypoint = subject.settings.get("Entrypoint") or []
    if entrypoint[:1] != [OUR_ENTRYPOINT]:
        return [f"the entrypoint begins with {entrypoint[:1]}, not with {OUR_ENTRYPOINT}"]
    base = base_entrypoint(subject)
    if base is not None and entrypoint[1:] != base:
        return [f"behind ours stands {entrypoint[1:]}, the base's own is {base}"]
    if not subject.settings.get("Cmd"):
        return ["there is no command to run"]
    return []


def base_entrypoint(subject: Subject) -> list[str] | None:
    """The base's entrypoint: from its config where this machine has it, else from its part of the history."""
    base = base_config(subject)
    if base is not None:
        return list((base.get("config") or {}).get("Entrypoint") or [])
    for item in reversed(subject.config.get("history") or []):
        match = ENTRYPOINT.search(str(item.get("created_by", "")))
        found = read_list(match[1]) if match else None
        if found and found[0] != OUR_ENTRYPOINT:  # BuildKit notes ours in the history too
            return found
    return None


def read_list(text: str) -> list[str] | None:
    try:
        value: Any = json.loads(text)
    except ValueError:
        return None
    return [str(item) for item in value] if isinstance(value, list) else None


def workdir_faults(workdir: str, volumes: Iterable[str] | None, volume: str) -> list[str]:
    """Neither the working directory nor what we bake may lie where a mount hides it (RunPod mounts /workspace)."""
    mounts = {f"/{name}" for name in MOUNTED} | set(volumes or ()) | ({volume} - {""})
    return [
        f"{place} is hidden by the volume {mount}"
        for place in dict.fromkeys((workdir, f"/{HOME}"))
        for mount in sorted(mounts)
        if (place.rstrip("/") + "/").startswith(mount.rstrip("/") + "/")
    ]
