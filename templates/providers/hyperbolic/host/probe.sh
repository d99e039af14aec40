#!/bin/sh
# What this machine is and has: lines NAME=VALUE; a line that is missing is not known. Changes nothing.
# $1: the image, $2: where the volume will be.
set -u
image=$1 mount=$2
has() { command -v "$1" >/dev/null 2>&1; }
# One line, no control characters, bounded.
say() { printf '%s=%s\n' "$1" "$(printf '%s' "$2" | tr '\n\t' '  ' | tr -cd '[:print:]' | cut -c 1-300)"; }
# Kibibytes free where the path $2 is or will be, and that file system's name.
free() {
    place=$2
    while [ ! -d "$place" ]; do place=$(dirname "$place"); done
    say "$1.free" "$(df -Pk "$place" 2>/dev/null | awk 'NR == 2 { print $4 }')"
    say "$1.on" "$(df -Pk "$place" 2>/dev/null | awk 'NR == 2 { print $6 }')"
}

say arch "$(uname -m)"
# shellcheck disable=SC1091  # of the machine, when it has one
[ ! -r /etc/os-release ] || (. /etc/os-release && say os "${ID:-} ${VERSION_ID:-}" && say like "${ID:-} ${ID_LIKE:-}")

if has nvidia-smi; then
    say smi yes
    number=0
    timeout 60 nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader,nounits 2>/dev/null |
        while IFS= read -r line; do
            say "gpu.$number" "$line"
            number=$((number + 1))
        done
    # Newer drivers say "CUDA UMD Version".
    cuda=$(timeout 60 nvidia-smi 2>/dev/null | sed -n 's/.*CUDA[A-Za-z ]* Version: *\([0-9][0-9.]*\).*/\1/p')
    say cuda "$(printf '%s\n' "$cuda" | head -n 1)"
else
    say smi no
fi

root=/var/lib/docker
if has docker; then
    say docker yes
    if told=$(timeout 30 docker info --format '{{.ServerVersion}}|{{.DockerRootDir}}' 2>/dev/null); then
        say engine "${told%%|*}"
        root=${told#*|}
    fi
    if timeout 30 docker image inspect "$image" >/dev/null 2>&1; then say image yes; else say image no; fi
else
    say docker no
    say image no
fi
if has nvidia-ctk || has nvidia-container-runtime-hook; then say toolkit yes; else say toolkit no; fi
say root "$root"
case $root in /*) free disk "$root" ;; esac
case $mount in /*) free volume "$mount" ;; esac
