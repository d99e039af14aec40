#!/bin/sh
# Puts there what is missing, on Debian and Ubuntu: Docker, NVIDIA's container toolkit, its runtime in Docker's
# settings.
# $1...: docker, toolkit, runtime. What is there is left as it is, so that it may run again at any moment.
set -eu
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a
has() { command -v "$1" >/dev/null 2>&1; }
# A machine that has just booted updates itself: its lock is waited for.
apt() { apt-get -y -q -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 "$@" </dev/null; }
service_do() {
    if has systemctl && [ -d /run/systemd/system ]; then systemctl "$1" docker; else service docker "$1"; fi
}

docker_there() {
    has docker || apt install --no-install-recommends docker.io
    timeout 30 docker info >/dev/null 2>&1 && return
    service_do start || true # dockerd says below whether it worked
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        timeout 30 docker info >/dev/null 2>&1 && return
        sleep 1
    done
    echo "Docker is installed and does not answer" >&2
    return 1
}

# NVIDIA's own package source, where the distribution has no such package: its key and address as NVIDIA documents them.
toolkit_source() {
    [ -z "$(apt-cache policy nvidia-container-toolkit | sed -n 's/.*Candidate: *\([0-9]\)/\1/p')" ] || return 0
    has curl || apt install --no-install-recommends ca-certificates curl
    key=/usr/share/keyrings/stoker-nvidia.asc
    curl -fsSL --retry 3 --proto =https https://nvidia.github.io/libnvidia-container/gpgkey >"$key.new"
    mv "$key.new" "$key"
    chmod 644 "$key"
    echo "deb [signed-by=$key] https://nvidia.github.io/libnvidia-container/stable/deb/$(dpkg --print-architecture) /" \
        >/etc/apt/sources.list.d/stoker-nvidia.list
    chmod 644 /etc/apt/sources.list.d/stoker-nvidia.list
    apt update
}

umask 022
for part; do
    case $part in
    docker | toolkit)
        apt update
        break
        ;;
    esac
done
for part; do
    case $part in
    docker) docker_there ;;
    toolkit)
        if ! has nvidia-ctk; then
            toolkit_source
            apt install --no-install-recommends nvidia-container-toolkit
        fi
        ;;
    runtime)
        nvidia-ctk runtime configure --runtime=docker
        service_do restart
        docker_there
        ;;
    *)
        echo "install.sh: $part?" >&2
        exit 2
        ;;
    esac
done
