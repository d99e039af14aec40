#!/bin/sh
# Pulls the image $2 with the login in $1/login, if there is one, which is gone after it.
set -u
folder=$1 image=$2
trap 'rm -rf "$folder/login"' EXIT
if docker image inspect "$image" >/dev/null 2>&1; then
    exit 0
fi
[ ! -d "$folder/login" ] || export DOCKER_CONFIG="$folder/login"
docker pull "$image"
