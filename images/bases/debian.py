"""A Debian base bootstrapped by mmdebstrap: no registry, no Docker, the same bytes from the same packages.

Used by the `cpu` profile. The result is an ordinary one-layer OCI image in the store's layout.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from images import system
from images.oci import digest as digests
from images.oci import media
from images.oci.manifest import Descriptor, Manifest, build, canonical
from images.progress import Progress, size
from images.store import Store
from profiles.errors import OutsideFailed, StokerError, WrongInput

MIRROR = "http://deb.debian.org/debian"
SECURITY = "http://deb.debian.org/debian-security"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

# What differs from machine to machine or run to run and is of no use in an image. mmdebstrap copies the host's
# resolv.conf and hostname (its manual, OPERATION step 6); the others hold times or random bytes.
VOLATILE = (
    "/etc/resolv.conf /etc/hostname /etc/machine-id /var/lib/dbus/machine-id /var/cache/ldconfig/aux-cache "
    "/var/log/apt /var/log/dpkg.log /var/log/alternatives.log /var/log/bootstrap.log /var/cache/debconf/*-old "
    "/var/lib/dpkg/*-old /var/cache/apt/archives/lock /var/lib/apt/lists/lock /etc/apt/sources.list.d/*"
)
PATIENCE = 20.0  # seconds in which an interrupted mmdebstrap unmounts and removes what it made
ROOM = 300_000_000  # bytes: the tar of a minbase with Python, and the layer it becomes
NO_DOCS = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*", "/usr/share/doc/*")


@dataclass(frozen=True, slots=True)
class Bootstrapped:
    """A base in the layout: the manifest's digest, the root file system's diff_id, and package -> version."""

    suite: str
    digest: str
    diff_id: str
    packages: Mapping[str, str]


def architecture() -> str:
    """Debian's and OCI's common name of this machine's architecture. Raises WrongInput for others."""
    machine = platform.machine()
    if machine not in ARCHITECTURES:
        raise WrongInput(f"a Debian base cannot be bootstrapped on {machine}", "build on amd64 or arm64")
    return ARCHITECTURES[machine]


def sources(suite: str) -> str:
    """The apt sources to bootstrap from: this machine's own when it runs `suite`, else Debian's.

    A machine behind a mirror or without a way out then works as its apt does. They do not enter the image.
    """
    own = Path("/etc/apt/sources.list.d/debian.sources")
    if own.exists() and suite in own.read_text().split():
        return str(own)
    classic = Path("/etc/apt/sources.list")
    if classic.exists() and f" {suite} " in classic.read_text():
        return str(classic)
    return MIRROR


def apt_list(suite: str) -> str:
    """The sources.list inside the image: the same everywhere, whatever mirror the bootstrap used."""
    return (
        f"deb {MIRROR} {suite} main\\n"
        f"deb {MIRROR} {suite}-updates main\\n"
        f"deb {SECURITY} {suite}-security main\\n"
    )  # \\n: expanded by printf in the hook


def command(program: str, suite: str, packages: tuple[str, ...], tar: Path) -> list[str]:
    """The mmdebstrap command line."""
    clean = " ".join(f'"$1"{path}' for path in VOLATILE.split())
    line = [program, "--variant=minbase", "--format=tar", "--quiet", f"--architectures={architecture()}"]
    line += [f"--include={','.join(sorted(packages))}"] if packages else []
    line += ["--aptopt=Acquire::Languages none", '--aptopt=Acquire::Retries "3"']
    line += [f"--dpkgopt=path-exclude={path}" for path in NO_DOCS]
    line += ["--dpkgopt=path-include=/usr/share/doc/*/copyright"]  # licences stay
    # dpkg-query as the chroot sees it; the list goes out through the mmdebstrap's own copy-out hook.
    line += ['--customize-hook=chroot "$1" dpkg-query -W -f \'${Package}\\t${Version}\\n\' > "$1/stoker-packages"']
    line += [f"--customize-hook=copy-out /stoker-packages {tar.parent}"]
    line += [f'--customize-hook=rm -rf {clean} "$1/stoker-packages"']
    line += [f"--customize-hook=printf '{apt_list(suite)}' > \"$1/etc/apt/sources.list\""]
    return [*line, suite, str(tar), sources(suite)]


def bootstrap(suite: str, packages: tuple[str, ...], store: Store, progress: Progress) -> Bootstrapped:
    """Make the base and put it into the layout.

    Raises OutsideFailed when mmdebstrap is missing or fails (its last line is quoted).
    """
    program = system.need("mmdebstrap", progress)
    env = {**os.environ, "SOURCE_DATE_EPOCH": "1", "LC_ALL": "C", "TZ": "UTC"}
    with tempfile.TemporaryDirectory(dir=store.folder("tmp"), prefix="base-") as folder:
        tar = Path(folder) / "root.tar"
        progress.say(f"bootstrapping Debian {suite} with mmdebstrap (about half a minute)")
        code, said = run_apart(command(program, suite, packages, tar), env)
        if code:
            raise failed(suite, said, store.root)
        versions = dict(line.split("\t") for line in (Path(folder) / "stoker-packages").read_text().splitlines())
        manifest, diff_id = as_image(tar, suite, store, progress)
    done = Bootstrapped(suite, manifest.digest, diff_id, versions)
    remember(done, packages, store)
    return done


def run_apart(command: list[str], env: Mapping[str, str]) -> tuple[int, str]:
    """Exit code and standard error of a program in a process group of its own.

    When mmdebstrap cannot write its tar (full disk), it sends SIGHUP to its whole process group: to us and to the
    script that called us, if we shared it. Ctrl-C then does not reach it by itself and is handed on.
    """
    with subprocess.Popen(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        umask=0o022,
        process_group=0,
    ) as running:
        try:
            said = running.communicate()[1]
        except BaseException:
            end(running)
            raise
    return running.returncode, said


def end(running: subprocess.Popen[str]) -> None:
    """Interrupts a program and waits while it cleans up; kills what takes longer than PATIENCE."""
    for number in (signal.SIGINT, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(running.pid, number)
        with suppress(subprocess.TimeoutExpired):
            running.wait(PATIENCE)
            return


def failed(suite: str, said: str, folder: Path) -> OutsideFailed:
    """What mmdebstrap's words mean; a full disk is named, as mmdebstrap itself only says that it failed."""
    free = shutil.disk_usage(folder).free
    if "No space left" in said or free < ROOM:
        return OutsideFailed(
            f"no space left: a Debian base needs some {size(ROOM)}, {size(free)} are free in {folder}",
            "free some space there (./inv prune), then run the same command again",
        )
    lines = [line for line in said.splitlines() if line.startswith("E:")] or said.splitlines()
    return OutsideFailed(
        f"mmdebstrap could not bootstrap {suite}: {(lines or ['no message'])[0]}",
        f"check that {sources(suite)} is reachable, then run the same command again",
    )


def as_image(tar: Path, suite: str, store: Store, progress: Progress) -> tuple[Manifest, str]:
    """The one-layer OCI image of a root file system, put into the store's layout."""
    from images.layers.blob import compress_tar

    total = tar.stat().st_size
    with progress.meter("compressing the base", total) as meter, tar.open("rb") as stream:
        blob = compress_tar(stream, media.OCI, "gzip", store.layout.folder, meter)
    config = canonical(
        {
            "architecture": architecture(),
            "os": "linux",
            "created": "1970-01-01T00:00:01Z",
            "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["bash"]},
            "rootfs": {"type": "layers", "diff_ids": [blob.diff_id]},
            "history": [{"created": "1970-01-01T00:00:01Z", "created_by": f"mmdebstrap --variant=minbase {suite}"}],
        }
    )
    store.layout.put_blob(config)
    manifest = build(
        {
            "schemaVersion": 2,
            "mediaType": media.OCI_MANIFEST,
            "config": Descriptor(media.OCI_CONFIG, digests.of_bytes(config), len(config)).to_json(),
            "layers": [blob.descriptor.to_json()],
        }
    )
    store.layout.put_manifest(manifest, f"base-debian-{suite}-{digests.hex_of(manifest.digest)[:12]}")
    return manifest, blob.diff_id


def memo(suite: str, packages: tuple[str, ...], store: Store) -> Path:
    """Where the outcome of a bootstrap is remembered: the wish decides the name."""
    wish = canonical([suite, sorted(packages), architecture()])
    return store.bases / f"debian-{digests.hex_of(digests.of_bytes(wish))[:16]}.json"


def remember(done: Bootstrapped, packages: tuple[str, ...], store: Store) -> None:
    path = memo(done.suite, packages, store)
    scratch = path.with_suffix(f".{os.getpid()}.tmp")
    value = {"suite": done.suite, "digest": done.digest, "diff_id": done.diff_id, "packages": dict(done.packages)}
    scratch.write_text(json.dumps(value, indent=1, sort_keys=True))
    scratch.replace(path)


def recall(suite: str, packages: tuple[str, ...], store: Store) -> Bootstrapped | None:
    """The base of an earlier bootstrap of the same wish, if its blobs are still there."""
    try:
        value = json.loads(memo(suite, packages, store).read_text())
        manifest = store.layout.manifest(value["digest"])
    except (OSError, ValueError, KeyError, TypeError, StokerError):  # absent or damaged: bootstrapped again
        return None
    if store.layout.missing(manifest):
        return None
    return Bootstrapped(value["suite"], value["digest"], value["diff_id"], value["packages"])


def drift(locked: Mapping[str, str], now: Mapping[str, str]) -> str:
    """What differs between the locked packages and those of a fresh bootstrap, in one line."""
    changed = [f"{name} {locked.get(name, 'absent')} -> {now.get(name, 'absent')}" for name in sorted({*locked, *now})]
    changed = [line for line in changed if len(set(line.split(" ", 1)[1].split(" -> "))) == 2]
    if not changed:
        return "same packages, other bytes"
    more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
    return ", ".join(changed[:3]) + more
