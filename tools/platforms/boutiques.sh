#!/usr/bin/env bash
# Boutiques' own tool on descriptor.json: validated, simulated, launched at both levels, a failure's exit code:
#     bash tools/platforms/boutiques.sh [PYTHON [IMAGE]]        PYTHON: with semantoks, default python3
# Without a container; with IMAGE (as apptainer.sh takes it) again in Apptainer, and, unless that is a .sif, by `docker` (Docker or podman).
# A minute, and one more for each engine. Needs bosh (boutiques 0.5.33), or a package index that has it; for IMAGE what _apptainer.sh names.
. "$(dirname "$0")/_common.sh"
. "$(dirname "$0")/_apptainer.sh"
offers bosh boutiques==0.5.33
simulate "${1:-python3}"
if [ -n "${2:-}" ]; then provide_apptainer; provide_sif "$2"; fi
descriptor=$root/descriptor.json
mkdir "$scratch/here"
for level in participant group; do
    sed "s|/data/|$example/|; s|\"n_cpus\": 2|&, \"no_reports\": true|" "$root/examples/runners/boutiques/$level.json" >"$scratch/here/$level.json"
done
cd "$scratch/here" # bosh leaves files where it runs

expect 0 "descriptor.json is valid" bosh validate "$descriptor"
expect 0 "descriptor.json is a BIDS App's" bosh validate --bids "$descriptor"
expect 0 "an invocation is simulated" bosh exec simulate -i participant.json "$descriptor"
says "participant --participant-label 01 02"
launches() { # launches HOW BOSH_OPTIONS...: both levels and a wrong label; the outputs of one process
    rm -rf "$example/embeddings"
    mkdir "$example/embeddings"
    expect 0 "participants are launched, $1" bosh exec launch "${@:2}" "$descriptor" participant.json
    same "$example/embeddings"
    expect 0 "the group is launched, $1" bosh exec launch "${@:2}" "$descriptor" group.json
    [ -s "$example/embeddings/group_status.tsv" ] || fail "no table of the cohort"
    expect 2 "an unknown label ends with semantoks' exit code, $1" bosh exec launch "${@:2}" "$descriptor" wrong.json
}
sed 's/"02"/"nobody"/' participant.json >wrong.json
launches "without a container" --no-container
[ -n "${2:-}" ] || exit 0

# bosh mounts the inputs that are files and the folder where it is called; what is written is no input.
output=(--volumes "$example/embeddings:$example/embeddings")
launches "in Apptainer" --force-apptainer --imagepath "$sif" --container-opts=--containall "${output[@]}"
if [ "${2%.sif}" = "$2" ]; then
    . "$root/tools/image/engine.sh"
    named=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["container-image"]["image"])' "$descriptor")
    docker tag "$2" "$named"
    clean_up() { docker rmi "$named" >/dev/null 2>&1; }
    launches "by docker" --force-docker --no-pull "${output[@]}"
fi
