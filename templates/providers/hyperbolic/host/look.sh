#!/bin/sh
# What stands here for the container $1: lines NAME=VALUE. The folder for what must never reach a disk is the first of
# the paths $2... on a tmpfs; it is made here. Changes nothing else.
set -u
umask 077
tag=$1
shift
for folder; do
    mkdir -p "$folder" 2>/dev/null || continue
    if [ -L "$folder" ] || [ "$(stat -c %u "$folder")" != "$(id -u)" ]; then continue; fi
    case $(stat -f -c %T "$folder") in tmpfs | ramfs) ;; *) continue ;; esac
    chmod 700 "$folder" && printf 'folder=%s\n' "$folder"
    break
done
if ! command -v docker >/dev/null 2>&1; then
    echo container=none
    exit 0
fi
# LC_ALL=C is set by who runs this: the engine's words are compared.
if state=$(timeout 30 docker inspect --type container --format \
    '{{.State.Status}}|{{.State.ExitCode}}|{{.State.StartedAt}}' "$tag" 2>&1); then
    printf 'container=%s\n' "$(printf '%s\n' "$state" | tail -n 1)"
else
    case $state in
    *[Nn]"o such"*) echo container=none ;;
    *) echo container=unknown ;;
    esac
fi
