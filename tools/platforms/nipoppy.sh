#!/usr/bin/env bash
# The pipeline of examples/runners/nipoppy by Nipoppy itself, on the example laid out as a Nipoppy study, without a container:
#     bash tools/platforms/nipoppy.sh [PYTHON]        PYTHON: with semantoks, default python3
# Validated, installed, simulated, run on four sessions of two participants, tracked, the group step, a job array that is only written.
# Two minutes. Needs nipoppy 0.4, or a package index that has it.
. "$(dirname "$0")/_common.sh"
offers nipoppy nipoppy==0.4.8
offers bosh nipoppy==0.4.8
simulate "${1:-python3}"
export HOME=$scratch/home SEMANTOKS_HOME=$example COLUMNS=400
mkdir "$HOME"
cd "$scratch"  # the writer of job scripts leaves its log where it is called
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
expect 0 "the pipeline is installed" nipoppy pipeline install --study "$study" --skip-container "$pipeline"
says FMRIPREP_VERSION
sed -i 's/"FMRIPREP_VERSION": null/"FMRIPREP_VERSION": "23.1.4"/; s/"COMMAND": "apptainer"/"COMMAND": null/' "$study/global_config.json"
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
