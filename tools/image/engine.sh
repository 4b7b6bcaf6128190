# An engine behind the name `docker`, and building with it: `. "$root/tools/image/engine.sh"`, after _common.sh.
# Docker where its daemon answers, else podman, crun and buildah as root; without either, exit code 77.
# shellcheck shell=bash

# What pip needs on this machine and a container does not have: its configuration, the certificates
# and the folders that it names go in for the length of the build.
site_build_options() {
    python3 -m pip config list | python3 -c '
import re, sys
wanted = {"index-url", "extra-index-url", "find-links", "default-timeout", "trusted-host"}
settings = {}
for line in sys.stdin:
    name, _, value = line.strip().partition("=")
    if (key := name.rpartition(".")[2]) in wanted:
        settings[key] = value.strip("\x27")
with open(sys.argv[1], "w") as conf:
    print("[global]", "cert = /etc/ssl/certs/ca-certificates.crt", *(f"{k} = {v}" for k, v in settings.items()), sep="\n", file=conf)
for path in dict.fromkeys(re.findall(r"(?<![:/\w])(?:file://)?(/[^\s/]+/[^\s/]+)", " ".join(settings.values()))):
    print(f"--volume={path}:{path}:ro")
' "$scratch/pip.conf"
    echo "--secret=id=pipconf,src=$scratch/pip.conf"
    local bundle=${PIP_CERT:-/etc/ssl/certs/ca-certificates.crt}
    if [ -f "$bundle" ]; then echo "--secret=id=cabundle,src=$bundle"; fi
}

use_podman() {
    local tool
    for tool in podman buildah crun unshare; do
        command -v "$tool" >/dev/null || skip "no Docker daemon, and $tool is not installed (apt-get install --no-install-recommends podman buildah crun)"
    done
    [ "$(id -u)" = 0 ] || skip "no Docker daemon, and podman is used as root only"
    local base=localhost/python-base:bookworm
    if ! podman image exists "$base"; then
        command -v mmdebstrap >/dev/null || skip "no base image: install mmdebstrap, or import one as $base"
        say "making a base image of Debian's packages"
        mmdebstrap --quiet --variant=minbase --include=ca-certificates,python3,python3-venv bookworm "$scratch/base.tar"
        podman import --quiet "$scratch/base.tar" "$base" >/dev/null
        rm "$scratch/base.tar"
    fi
    cat > "$scratch/containers.conf" <<-'CONF'
		[containers]
		cgroups = "disabled"
		netns = "none"
		default_ulimits = ["nofile=1024:20000", "nproc=32768:32768"]
		[engine]
		runtime = "crun"
		CONF
    export CONTAINERS_CONF=$scratch/containers.conf
    local options
    options=$(site_build_options | tr '\n' ' ')
    options+="--isolation=chroot --network=host --build-arg=BASE_IMAGE=$base"
    # torch comes from where pip is configured to look, and nothing is fetched from the internet.
    options+=" --build-arg=TORCH_INDEX= --build-arg=ATLAS=none"
    mkdir "$scratch/bin"
    # Hybrid cgroups confuse crun: it must not see the unified mount.
    cat > "$scratch/bin/docker" <<-SHIM
		#!/bin/sh
		if [ "\$1" = build ]; then shift; set -- build $options "\$@"; fi
		exec unshare -m sh -c 'umount /sys/fs/cgroup/unified 2>/dev/null; exec podman "\$@"' podman "\$@"
		SHIM
    chmod +x "$scratch/bin/docker"
    PATH=$scratch/bin:$PATH
}

# In a session of its own, and waited for: a signal ends it at once, with all that it started (stop_building).
builds() { # builds LABEL COMMAND...: run a build, and say at which step it is
    local label=$1 begun=$SECONDS code=0
    shift
    say "begins: $label"
    : >"$scratch/log"
    setsid "$@" >"$scratch/log" 2>&1 </dev/null &
    building=$!
    tail --pid="$building" -n +1 -f "$scratch/log" 2>/dev/null | while read -r line; do
        case $line in
            *STEP\ *:* | \#*\[*/*\]\ * | "Installing collected"* | "removed "* | "Installed "*) say "    ${line:0:96}" ;;
        esac
    done &
    wait "$building" || code=$?
    building=
    if [ "$code" != 0 ]; then
        tail -40 "$scratch/log"
        fail "$label: exit code $code"
    fi
    say "ok after $((SECONDS - begun)) s: $label"
}
stop_building() { [ -z "${building:-}" ] || kill -- "-$building" 2>/dev/null; }

docker info >/dev/null 2>&1 || use_podman
say "engine: $(docker --version)"
