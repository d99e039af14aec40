"""What is run at the far end: POSIX sh that dash, busybox and bash take alike. No backslash, no `!`: see ssh_line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from shlex import quote

from trainer.stores.partial import ENDING, stem
from trainer.stores.ssh_words import A_FOLDER, MISSING, NO_HASH, WRONG

BLOCK = 1 << 16  # of dd: a transfer goes on at a whole number of blocks
BEGIN = "LC_ALL=C; export LC_ALL; umask 022; echo stoker-begins; "
LONGEST = 32_000  # bytes of names in one command; a host takes 128 KiB as one argument

# Reads standard input; prints its SHA-256 in hex and perhaps more.
SHA256 = (
    "sha() { if command -v sha256sum >/dev/null 2>&1; then sha256sum; "
    "elif command -v shasum >/dev/null 2>&1; then shasum -a 256; "
    "elif command -v openssl >/dev/null 2>&1; then openssl dgst -sha256 -r; "
    f"else exit {NO_HASH}; fi; }}; "
)


def listing(root: str, folder: str) -> str:
    """Prints `BYTES ./NAME` of every regular file below root/folder; nothing when there is no such folder."""
    here, find = quote(_join(root, folder)), "find . -type f -exec"
    return (
        f"{BEGIN}[ -d {here} ] || exit 0; cd {here} || exit 1; "
        "if stat -c %s . >/dev/null 2>&1; then "
        f"{find} stat -c '%s %n' {{}} +; "
        "elif stat -f %z . >/dev/null 2>&1; then "
        f"{find} stat -f '%z %N' {{}} +; "
        f"else {find} wc -c {{}} +; fi 2>/dev/null; exit 0"  # a file may vanish while it is looked at
    )


def reading(root: str, name: str, begin: int) -> str:
    """Prints the file from byte `begin` on."""
    path = quote(_join(root, name))
    show = "cat" if begin == 0 else f"tail -c +{begin + 1}"
    return f"{BEGIN}[ -f {path} ] || exit {MISSING}; exec {show} <{path}"


def preparing(root: str, name: str) -> str:
    """Makes the folder."""
    folder, target = quote(_join(root, name.rpartition("/")[0])), quote(_join(root, name))
    return f"{BEGIN}mkdir -p {folder} || exit 1; [ -d {target} ] && exit {A_FOLDER}; "


def begun(root: str, beside: str) -> str:
    """Prints how many bytes of the partial are there."""
    path = quote(_join(root, beside))
    return f"if [ -f {path} ]; then stat -c %s {path} 2>/dev/null || wc -c <{path}; else echo 0; fi; "


def writing(root: str, beside: str) -> str:
    """Writes standard input into the partial, from block $at on."""
    return f"{BEGIN}dd of={quote(_join(root, beside))} bs={BLOCK} seek=$at conv=notrunc || exit 1; "


def finishing(root: str, name: str, beside: str, sha256: str) -> str:
    """Flushes and hashes the partial; moves it to its place, or removes it and exits WRONG. Removes older partials."""
    path, target = quote(_join(root, beside)), quote(_join(root, name))
    folder = quote(_join(root, name.rpartition("/")[0]))
    return (
        f'{BEGIN}{SHA256}p={path}; sync "$p" 2>/dev/null || sync; h=$(sha <"$p") || exit $?; '
        f'case "$h" in {sha256}*) ;; *) rm -f "$p"; exit {WRONG};; esac; '
        f'mv -f "$p" {target} || exit 1; sync {folder} 2>/dev/null || sync; {_partials(root, name)}'
    )


def deleting(root: str, names: Sequence[str]) -> str:
    """Removes files in order, with their partials, then folders that hold nothing whole."""
    script = [BEGIN, f"[ -d {quote(root)} ] || exit 0; cd {quote(root)} || exit 1; "]
    for name in names:
        script.append(f"rm -f {quote('./' + name)} || exit 1; {_partials('.', name)}")
    for folder in dict.fromkeys(name.rpartition("/")[0] for name in names):
        script += [_clean(above) for above in _upwards(folder)]
    return "".join(script) + "exit 0"


def groups(names: Sequence[str]) -> Iterator[list[str]]:
    """Names in order, as many as go into one command."""
    group: list[str] = []
    size = 0
    for name in names:
        if group and size > LONGEST:
            yield group
            group, size = [], 0
        group.append(name)
        size += 4 * len(name.encode("utf-8", "surrogateescape")) + 200
    if group:
        yield group


def _partials(root: str, name: str) -> str:
    """Removes the half-sent versions of a file: 32 hex digits stand for a content."""
    folder, _, base = name.rpartition("/")
    start = quote(_join(root, f"{folder}/.{stem(base)}." if folder else f".{stem(base)}."))
    return f"rm -f {start}{'[0-9a-f]' * 32}{ENDING}; "


def _clean(folder: str) -> str:
    """Removes a folder in which there are at most half-sent files."""
    here = quote("./" + folder)
    whole = f"find {here} -type f | grep -v '[.][0-9a-f]*{ENDING}$' | head -n 1"
    return f'if [ -d {here} ] && [ -z "$({whole})" ]; then rm -rf {here}; fi; '


def _upwards(folder: str) -> Iterator[str]:
    while folder:
        yield folder
        folder = folder.rpartition("/")[0]


def _join(root: str, name: str) -> str:
    return f"{root.rstrip('/')}/{name}" if name else (root.rstrip("/") or "/")
