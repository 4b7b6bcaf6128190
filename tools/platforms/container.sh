#!/usr/bin/env bash
# Build the image and run it as README.md and docs/containers.md say, under the strictest conditions:
#     bash tools/platforms/container.sh [TREE]          TREE: what to build, default this checkout
# Uses Docker where its daemon answers, else podman, crun and buildah as root; without either it ends
# with 77. Leaves the image semantoks-check behind: its layers make the next build quick.
. "$(dirname "$0")/_common.sh"
tree=$(cd "${1:-$root}" && pwd)
image=semantoks-check
clean_up() { docker rmi --force "$image-atlas" >/dev/null 2>&1; }

# ---- an engine behind the name `docker` ------------------------------------------------------------

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

docker info >/dev/null 2>&1 || use_podman
say "engine: $(docker --version)"

# ---- conditions and comparisons --------------------------------------------------------------------

user=12345
if [ "$(id -u)" != 0 ]; then user=$(id -u); fi
strict=(--rm --network none --read-only --user "$user:$user" --cap-drop all --tmpfs /tmp)
strict+=(--security-opt no-new-privileges)

new_folder() { install -d "$1"; [ "$(id -u)" != 0 ] || chown "$user:$user" "$1"; }

fingerprint() { (cd "$1" && find . -printf '%p %m %U:%G %T@ %y\n' | sort) && contents "$1"; }

unchanged() { # unchanged FOLDER FINGERPRINT LABEL
    fingerprint "$1" | diff "$2" - >"$scratch/diff" || { cat "$scratch/diff"; fail "$3"; }
    say "ok: $3"
}

readme_line() { # readme_line BEGINNING [IMAGE]: a line of README.md with this machine's names in it
    grep -m1 "^$1" "$tree/README.md" | sed -e "s# semantoks # ${2:-$image} #" -e "s#/data/fmriprep#$scratch/demo/fmriprep#" \
        -e "s#/data/embeddings#$scratch/readme#" || fail "README.md has no line that begins with: $1"
}

# ---- build -----------------------------------------------------------------------------------------

cd "$tree"
expect 0 "README: docker build" bash -c "$(readme_line 'docker build')"
say "size: $(docker image inspect --format '{{.Size}}' $image | awk '{printf "%.2f GB", $1 / 1e9}')"

# ---- doors -----------------------------------------------------------------------------------------

expect 0 "--version" docker run "${strict[@]}" $image --version
says '^semantoks [0-9]'
version=$(cat "$scratch/log")
expect 0 "--help" docker run "${strict[@]}" $image --help
says 'Exit codes'
for command in assets demo series blocks importance slurm todo; do
    expect 0 "$command --help" docker run "${strict[@]}" $image $command --help
done
expect 0 "semantoks-model --help" docker run "${strict[@]}" --entrypoint semantoks-model $image --help
expect 0 "/version, and nothing of the build machine" docker run "${strict[@]}" --entrypoint sh $image -c \
    'echo "semantoks $(cat /version)"; test ! -e /etc/pip.conf && test ! -e /src && test ! -e /root/.cache'
says "^$version\$"
expect 0 "any user id can read all of /opt" docker run "${strict[@]}" --entrypoint sh $image -c \
    'test -z "$(find /opt ! -readable -print -quit)"'

# ---- the demo, then its derivative as a user's data ------------------------------------------------

new_folder "$scratch/demo"
expect 0 "demo" docker run "${strict[@]}" -v "$scratch/demo:/out" $image demo /out
grep -A 7 '^Extracted series' "$scratch/log"
demo=$scratch/demo
fingerprint "$demo" >"$scratch/demo.before"

new_folder "$scratch/out"
app=(docker run "${strict[@]}" -v "$demo/fmriprep:/bids:ro" -v "$demo/atlas:/atlas:ro" -v "$scratch/out:/out")
participant=(/bids /out participant --atlas /atlas)
expect 0 "participant" "${app[@]}" $image "${participant[@]}"
expect 0 "group" "${app[@]}" $image /bids /out group
fingerprint "$scratch/out/sub-01" >"$scratch/sub-01.before"
contents "$scratch/out" >"$scratch/out.before"
expect 0 "participant again" "${app[@]}" $image "${participant[@]}"
expect 0 "group again" "${app[@]}" $image /bids /out group
unchanged "$scratch/out/sub-01" "$scratch/sub-01.before" "the second run touched no scan"
contents "$scratch/out" | diff "$scratch/out.before" - || fail "the second run wrote other bytes"
[ -z "$(find "$scratch/out" "$demo" ! -user $user -print -quit)" ] || fail "files of another owner than $user in the output"
say "ok: every file belongs to $user"

new_folder "$scratch/bare"
bare=("${strict[@]}")
if docker run --help | grep -q -- --unsetenv; then bare+=(--unsetenv HOME); else bare+=(--env HOME=); fi
expect 0 "participant without HOME" docker run "${bare[@]}" -v "$demo/fmriprep:/bids:ro" -v "$demo/atlas:/atlas:ro" \
    -v "$scratch/bare:/out" $image "${participant[@]}" --participant-label 01

# ---- faults ----------------------------------------------------------------------------------------

new_folder "$scratch/empty"
expect 16 "an input that is no derivative" docker run "${strict[@]}" -v "$scratch/empty:/bids:ro" -v "$scratch/bare:/out" $image "${participant[@]:0:3}"
expect 17 "an unknown level" "${app[@]}" $image /bids /out session
expect 73 "an output that cannot be written" docker run "${strict[@]}" -v "$demo/fmriprep:/bids:ro" -v "$demo/atlas:/atlas:ro" \
    -v "$scratch/empty:/out:ro" $image "${participant[@]}"

# Python is process 1 there and gets the signal itself.
new_folder "$scratch/stopped"
docker run --name "$image-$$" "${strict[@]}" -v "$demo/fmriprep:/bids:ro" -v "$demo/atlas:/atlas:ro" -v "$scratch/stopped:/out" \
    $image "${participant[@]}" >"$scratch/log" 2>&1 &
running=$!
until [ -n "$(find "$scratch/stopped" -name '*_status.json')" ] || ! kill -0 $running; do sleep 0.2; done
docker kill --signal TERM "$image-$$" >/dev/null || true
expect 143 "SIGTERM in the middle" wait $running
[ -z "$(find "$scratch/stopped" -name '*.part')" ] || fail "SIGTERM left partial files"

# ---- an atlas in the image, as docs/containers.md says, then README's line as it stands ------------

new_folder "$scratch/readme"
sed -n "/^FROM semantoks/,/^END/p" "$tree/docs/containers.md" | sed -e "s/^FROM .*/FROM $image/" -e '/^END/d' >"$scratch/Atlas"
expect 0 "docs: an image with an atlas of one's own" docker build -t "$image-atlas" -f "$scratch/Atlas" "$demo"
expect 0 "README: docker run" bash -c "$(readme_line 'docker run' "$image-atlas")"

# ---- Apptainer, where it is installed --------------------------------------------------------------

if command -v apptainer >/dev/null; then
    expect 0 "docker save" docker save -o "$scratch/image.tar" "$image-atlas"
    expect 0 "Apptainer: build" apptainer build --sandbox "$scratch/semantoks.sif" "docker-archive:$scratch/image.tar"
    rm "$scratch/image.tar"
    rm -r "$scratch/readme"
    install -d "$scratch/readme"
    plain=(env -i "PATH=$PATH" "HOME=$scratch")
    if [ "$(id -u)" = 0 ]; then # Apptainer wants a user with a name, and root is none that it expects
        chown nobody "$scratch/readme"
        plain=(setpriv --reuid nobody --regid nogroup --clear-groups "${plain[@]}")
    fi
    cd "$scratch"
    expect 0 "README: apptainer run" "${plain[@]}" bash -c "$(readme_line 'apptainer run')"
    cd "$tree"
else
    say "SKIPPED: Apptainer is not installed"
fi

unchanged "$demo" "$scratch/demo.before" "the input is as it was"
say "all passed"
