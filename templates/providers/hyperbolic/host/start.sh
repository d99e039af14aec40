#!/bin/sh
# Starts the container $2 with `docker run -d` and the arguments $5..., unless one of this name has run already.
# Standard input: $3 bytes of an --env-file, $4 bytes of shell exports for values of several lines. Both lie in the
# folder $1, on a tmpfs, until docker has read them, also when the connection is lost meanwhile.
set -u
trap '' PIPE HUP
umask 077
folder=$1 tag=$2 lines=$3 exports=$4
shift 4
cd "$folder" || exit 1
kept=start.$$
trap 'rm -rf "$folder/$kept"' EXIT
mkdir "$kept" || exit 1
head -c "$lines" >"$kept/env"
head -c "$exports" >"$kept/exports"
if [ "$(wc -c <"$kept/env")" -ne "$lines" ] || [ "$(wc -c <"$kept/exports")" -ne "$exports" ]; then
    echo "cut on the way" >&2
    exit 98
fi
# Whoever lost the connection and comes again waits here for the first one's end, and then finds the container.
exec 9>start.lock
flock -w 120 9 || exit 75
if state=$(docker inspect --type container --format '{{.State.Status}}|{{.State.StartedAt}}' "$tag" 2>&1); then
    case $(printf '%s\n' "$state" | tail -n 1) in
    created* | *"|0001-01-01"*) docker rm --force "$tag" >/dev/null 9>&- || exit 69 ;; # it never ran
    *)
        echo container=there
        exit 0
        ;;
    esac
else
    case $state in
    *[Nn]"o such"*) ;;
    *)
        printf '%s\n' "$state" >&2
        exit 69
        ;;
    esac
fi
# shellcheck disable=SC1090  # ours, of this moment
(. "./$kept/exports" && exec docker run --detach --name "$tag" --env-file "$kept/env" "$@" </dev/null >/dev/null 9>&-)
code=$?
[ "$code" -ne 0 ] || echo container=started
exit "$code"
