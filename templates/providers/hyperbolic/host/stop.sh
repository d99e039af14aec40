#!/bin/sh
# Asks the container $1 to end, and ends it after $2 seconds. None there is success.
set -u
if told=$(docker stop --time "$2" "$1" 2>&1 </dev/null); then exit 0; fi
case $told in *[Nn]"o such"*) exit 0 ;; esac
printf '%s\n' "$told" >&2
exit 1
