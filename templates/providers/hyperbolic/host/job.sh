#!/bin/sh
# A piece of work that outlives the SSH connection that started it. In the folder $1, one of the name $2 at a time.
# $3: `begin` starts the script that standard input holds, of $4 bytes, with the arguments $6...; where one runs
# already, that one goes on. `watch` only looks. Both wait up to $5 seconds for its end, and say:
#   state=running, ended, none (it was cut off) or never; code= its exit status, when it ended; `log ` and a line of its last ones, several times
set -u
trap '' PIPE HUP
umask 077
folder=$1 name=$2 mode=$3 bytes=$4 seconds=$5
shift 5
mkdir -p "$folder/job-$name" && cd "$folder/job-$name" || exit 1

if [ "$mode" = begin ]; then
    head -c "$bytes" >"script.$$"
    if [ "$(wc -c <"script.$$")" -ne "$bytes" ]; then
        rm -f "script.$$"
        echo "cut on the way" >&2
        exit 98
    fi
    exec 9>lock
    if flock -n 9; then
        mv "script.$$" script
        rm -f code
        : >log
        # The lock is this shell's, so that a service which the script starts cannot hold it.
        setsid sh -c 'sh ./script "$@" >log 2>&1 </dev/null 9>&-; echo "$?" >code.new; mv code.new code' \
            stoker "$@" >/dev/null 2>&1 </dev/null &
    else
        rm -f "script.$$"
    fi
    exec 9>&-
fi

[ -e lock ] || { echo state=never; exit 0; }
exec 8<lock
if flock -w "$seconds" 8; then
    if [ -f code ]; then
        echo state=ended
        printf 'code=%s\n' "$(cat code)"
    else
        echo state=none # it was killed
    fi
else
    echo state=running
fi
printf 'waiting=%s\n' "$(grep -c ': Pulling fs layer' log)"
printf 'complete=%s\n' "$(grep -c -e ': Pull complete' -e ': Already exists' log)"
tail -n 8 log | tr -cd '[:print:]\n' | cut -c 1-300 | sed 's/^/log /'
