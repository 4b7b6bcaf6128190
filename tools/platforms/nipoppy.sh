#!/usr/bin/env bash
# The pipeline of examples/runners/nipoppy by Nipoppy itself, on the example laid out as a Nipoppy study:
#     bash tools/platforms/nipoppy.sh [PYTHON [IMAGE]]        PYTHON: with semantoks, default python3
# Validated, installed, simulated, run on four sessions of two participants, tracked, the group step, a job array that is only written.
# Without IMAGE without a container; with one (as apptainer.sh takes it) in Apptainer, where only the study and the atlas are mounted.
# Two minutes, in Apptainer four. Needs nipoppy 0.4, or a package index that has it; for IMAGE what _apptainer.sh names.
. "$(dirname "$0")/_common.sh"
. "$(dirname "$0")/_apptainer.sh"
offers nipoppy nipoppy==0.4.8
offers bosh nipoppy==0.4.8
simulate "${1:-python3}"
if [ -n "${2:-}" ]; then provide_apptainer; provide_sif "$2"; fi
export HOME=$scratch/home SEMANTOKS_HOME=$example COLUMNS=400
mkdir "$HOME" "$scratch/here"
cd "$scratch/here"  # bosh mounts it, and the writer of job scripts leaves its log in it
study=$scratch/study
pipeline=$root/examples/runners/nipoppy
expect 0 "the pipeline is valid" nipoppy pipeline validate "$pipeline"
says "all valid"

# ---- a study: two sessions of two participants -----------------------------------------------------

expect 0 "a study" nipoppy init --study "$study" --default-config
printf 'participant_id\tvisit_id\tsession_id\tdatatype\n' >"$study/manifest.tsv"
for label in 01 02; do
    for session in 1 2; do
        printf "%s\t%s\t%s\t['func']\n" $label $session $session >>"$study/manifest.tsv"
        mkdir -p "$study/bids/sub-$label/ses-$session/func"
    done
done
mkdir -p "$study/derivatives/fmriprep/23.1.4" "$study/derivatives/semantoks/0.1.0"
cp -a "$example/fmriprep" "$study/derivatives/fmriprep/23.1.4/output"
expect 0 "what there is" nipoppy track-curation --study "$study"
if [ -n "${2:-}" ]; then
    ln "$sif" "$study/containers/semantoks_0.1.0.sif"
    expect 0 "the pipeline is installed; its image is there" nipoppy pipeline install --study "$study" --assume-yes "$pipeline"
    sed -i "s|\"BIND_PATHS\": \[\]|\"BIND_PATHS\": [\"$example/atlas:/opt/semantoks/home/atlas:ro\"]|" "$study/global_config.json"
else
    expect 0 "the pipeline is installed" nipoppy pipeline install --study "$study" --skip-container "$pipeline"
    sed -i 's/"COMMAND": "apptainer"/"COMMAND": null/' "$study/global_config.json"
fi
says FMRIPREP_VERSION
sed -i 's/"FMRIPREP_VERSION": null/"FMRIPREP_VERSION": "23.1.4"/' "$study/global_config.json"
sed -i 's/"n_cpus": 1/&, "no_reports": true/' "$study/pipelines/processing/semantoks-0.1.0/invocation.json"

# ---- simulated, run, tracked -----------------------------------------------------------------------

step() { nipoppy "$1" --study "$study" --pipeline semantoks "${@:2}"; }
status() { cut -f 1,3,7 "$study/derivatives/processing_status.tsv" | tail -n +2 | sort | tr '\t\n' '  '; }
expect 0 "simulated" step process --simulate
says "participant --participant-label 02 --session-label 2"
says "4 out of 4"
expect 0 "tracked before" step track-processing
[ "$(grep -c FAIL "$study/derivatives/processing_status.tsv")" = 4 ] || fail "sessions count as done: $(status)"
expect 0 "one session" step process --participant-id 01 --session-id 1
[ -z "${2:-}" ] || says "apptainer exec"
expect 0 "tracked" step track-processing
[ "$(grep -c SUCCESS "$study/derivatives/processing_status.tsv")" = 1 ] || fail "expected one session as done: $(status)"
expect 0 "an array of the others is written, not submitted" step process --hpc slurm --dry-run
expect 0 "the others" step process
says "3 out of 3"
expect 0 "tracked" step track-processing
[ "$(grep -c SUCCESS "$study/derivatives/processing_status.tsv")" = 4 ] || fail "expected four sessions as done: $(status)"
expect 162 "again: Nipoppy's code for nothing to run" step process
says "No participants or sessions to run"
expect 0 "the group" step process --pipeline-step group
out=$study/derivatives/semantoks/0.1.0/output
[ "$(grep -c embedded "$out/group_status.tsv")" = 5 ] || fail "the table does not hold five scans"
same_tables "$out"
