#!/usr/bin/env bash
# Build the image twice from nothing and compare the digests of image and layers.
#     bash tools/image/reproducible.sh [TREE]          TREE: what to build, default this checkout
# Needs what tools/platforms/container.sh needs; with Docker also its buildx. Each build takes two to four minutes on two
# cores. The time written into layers is that of the last commit (SOURCE_DATE_EPOCH, if set). Leaves nothing behind.
. "$(dirname "$0")/../platforms/_common.sh"
tree=$(cd "${1:-$root}" && pwd)
clean_up() {
    stop_building
    for one in first second; do docker rmi --force "semantoks-$one-$$" >/dev/null 2>&1; done
}
. "$root/tools/image/engine.sh"

cd "$tree" || exit
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
for one in first second; do
    name=semantoks-$one-$$
    if docker --version | grep -q podman; then
        builds "$one build" docker build --no-cache --timestamp "$epoch" -t "$name" .
        docker image inspect --format '{{range .RootFS.Layers}}{{println .}}{{end}}' "$name" >"$scratch/$one"
        docker image inspect --format '{{.Id}}' "$name" >>"$scratch/$one"
    else
        builds "$one build" docker buildx build --no-cache --build-arg "SOURCE_DATE_EPOCH=$epoch" --provenance=false \
            --output "type=oci,dest=$scratch/$one.tar,rewrite-timestamp=true" .
        tar -xOf "$scratch/$one.tar" index.json >"$scratch/$one"
        rm "$scratch/$one.tar"
    fi
    cat "$scratch/$one"
done
diff "$scratch/first" "$scratch/second" || fail "the second build is another image"
say "all passed: both builds are the same image"
