#!/bin/sh
# Ends this machine's own rental: after $5 seconds; or when the keeper in the container $7 says that it is time; or $8
# seconds after that container has ended well, $6 after it failed, but not while it leaves what its remote lacks. Goes on
# asking until the provider says that it is ended, or that it knows no such rental.
# $1: curl or python3, $2: the folder with the key, $3: the address to ask, $4: the rental's number.
set -u
with=$1 folder=$2 url=$3 rental=$4 seconds=$5 after=$6 tag=$7 well=$8
export STOKER_KEEPER_URL="$url" STOKER_KEEPER_FOLDER="$folder"
body="{\"rentalId\": $rental, \"reason\": \"the machine's own limit\"}"
# Since boot: the wall's clock may be set meanwhile.
now() { cut -d . -f 1 /proc/uptime; }

# Prints the status of the answer. The key is in no argument and no environment.
asked() {
    if [ "$with" = curl ]; then
        printf 'header = "Authorization: Bearer %s"\n' "$(cat "$folder/key")" |
            curl --config - --silent --output /dev/null --write-out '%{http_code}' --max-time 60 --proto =http,https \
                --user-agent stoker/0.1 --header 'Content-Type: application/json' --data "$body" "$url"
    else
        printf %s "$body" | python3 -c '
import os, sys, urllib.error, urllib.request
headers = {"Content-Type": "application/json", "User-Agent": "stoker/0.1"}
headers["Authorization"] = "Bearer " + open(os.environ["STOKER_KEEPER_FOLDER"] + "/key").read()
asked = urllib.request.Request(os.environ["STOKER_KEEPER_URL"], sys.stdin.buffer.read(), headers, method="POST")
try:
    print(urllib.request.urlopen(asked, timeout=60).status, end="")
except urllib.error.HTTPError as refused:
    print(refused.code, end="")
'
    fi
}

# True when the container has run and has ended; what cannot be read has not ended. Sets `kept`, the seconds after that.
ended() {
    kept=$after
    state=$(timeout 30 docker inspect --format '{{.State.Status}}|{{.State.ExitCode}}' "$tag" 2>&1 </dev/null) || {
        case $state in *[Nn]"o such"*) [ "$seen" = yes ] && return 0 ;; esac
        return 1
    }
    case $state in running* | paused* | restarting*) seen=yes ;; esac
    case $state in exited* | dead*) ;; *) return 1 ;; esac
    case $state in *"|0" | *"|75") kept=$well ;; esac
    # It knows the deadline, idleness and what the remote lacks (templates/run/keeper.py and traces.py), and in there is
    # no key to end the machine with. Stopped from outside, also with 75, it may leave what is on this disk alone: then
    # only our own limit ends the machine, as it does when it was killed before it could say, or cannot be heard.
    if said=$(timeout 30 docker logs --tail 400 "$tag" 2>&1 </dev/null); then
        case $(printf '%s\n' "$said" | grep -e 'keeper: .*: ending this machine' -e 'keeper: stopping: ' | tail -n 1) in
        *": ending this machine"*) kept=0 ;;
        *"stopping: all is at the remote"*) ;;
        *"stopping: "*) kept=$seconds ;;
        esac
    else
        kept=$seconds
    fi
}

limit=$(($(now) + seconds)) seen=no since='' kept=$after
while [ "$(now)" -lt "$limit" ]; do
    if ended; then
        since=${since:-$(now)}
        [ "$(now)" -lt $((since + kept)) ] || break
    else
        since=''
    fi
    sleep "${STOKER_KEEPER_PAUSE:-10}"
done

pause=2
while :; do
    status=$(asked)
    echo "asked to end rental $rental: $status"
    case $status in 2?? | 404 | 410) break ;; esac
    sleep "$pause"
    [ "$pause" -ge 60 ] || pause=$((pause * 2))
done
rm -f "$folder/key"
