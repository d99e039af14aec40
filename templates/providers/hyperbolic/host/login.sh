#!/bin/sh
# Logs in to the registry $2 as $3 with the password of $4 bytes on standard input. The login is kept in $1/login, on a
# tmpfs, until the pull that needs it has ended.
set -u
trap '' PIPE HUP
umask 077
folder=$1 registry=$2 user=$3 bytes=$4
mkdir -p "$folder/login" || exit 1
password=$(head -c "$bytes" && printf x)
password=${password%x}
if [ "${#password}" -ne "$bytes" ]; then
    echo "cut on the way" >&2
    exit 98
fi
# printf is the shell's own: no process has the password among its arguments.
export DOCKER_CONFIG="$folder/login"
rm -f "$folder/login/config.json"
printf %s "$password" | timeout 60 docker login "$registry" --username "$user" --password-stdin 2>&1 |
    grep -v -i -e warning -e 'credential' -e '^ *$'
[ -s "$folder/login/config.json" ] || {
    rm -rf "$folder/login"
    exit 1
}
