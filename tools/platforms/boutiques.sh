#!/usr/bin/env bash
# Boutiques' own tool on descriptor.json: validated, simulated, launched at both levels without a container, a failure's exit code:
#     bash tools/platforms/boutiques.sh [PYTHON]        PYTHON: with semantoks, default python3
# A minute. Needs bosh (boutiques 0.5.33), or a package index that has it. Not tried: bosh with a container engine.
. "$(dirname "$0")/_common.sh"
offers bosh boutiques==0.5.33
simulate "${1:-python3}"
descriptor=$root/descriptor.json
for level in participant group; do
    sed "s|/data/|$example/|; s|\"n_cpus\": 2|&, \"no_reports\": true|" "$root/examples/runners/boutiques/$level.json" >"$scratch/$level.json"
done
cd "$scratch" # bosh leaves files where it runs

expect 0 "descriptor.json is valid" bosh validate "$descriptor"
expect 0 "descriptor.json is a BIDS App's" bosh validate --bids "$descriptor"
expect 0 "an invocation is simulated" bosh exec simulate -i participant.json "$descriptor"
says "participant --participant-label 01 02"
expect 0 "participants are launched" bosh exec launch --no-container "$descriptor" participant.json
same "$example/embeddings"
expect 0 "the group is launched" bosh exec launch --no-container "$descriptor" group.json
[ -s "$example/embeddings/group_status.tsv" ] || fail "no table of the cohort"
sed 's/"02"/"nobody"/' participant.json >wrong.json
expect 2 "an unknown label ends with semantoks' exit code" bosh exec launch --no-container "$descriptor" wrong.json
