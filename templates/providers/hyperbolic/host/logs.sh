#!/bin/sh
# The output of the container $1 with times: its last $2 lines, since the time $3 unless that is empty; on and on when
# $4 is `follow`.
set -u
tag=$1 tail=$2 since=$3 mode=$4
set -- --timestamps --tail "$tail"
[ -z "$since" ] || set -- "$@" --since "$since"
[ "$mode" != follow ] || set -- "$@" --follow
exec docker logs "$@" "$tag" 2>&1 </dev/null
