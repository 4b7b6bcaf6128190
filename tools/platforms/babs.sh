#!/usr/bin/env bash
# The container configuration of examples/runners/babs by BABS itself, its jobs on a SLURM of one node, as root, by hand:
#     bash tools/platforms/babs.sh [PYTHON [IMAGE]]        PYTHON: with semantoks, default python3
# babs init, check-setup, submit, status, merge; then the zip files of two participants in one folder, and the group step there.
# With IMAGE (as apptainer.sh takes it) the jobs run it in Apptainer under the name `singularity`. WITHOUT, that is a stand-in of a few
# lines that checks its call and runs PYTHON's semantoks instead.
# Four minutes. Needs 7z (p7zip-full), unzip, what _one_node_slurm.sh names, for IMAGE what _apptainer.sh names, and babs 0.5, datalad and
# a git-annex before 10.20261026 (which asks for special remotes to be verified, as BABS' jobs do not), or a package index.
. "$(dirname "$0")/_common.sh"
. "$(dirname "$0")/_one_node_slurm.sh"
. "$(dirname "$0")/_apptainer.sh"
needs git 7z unzip
offers babs babs==0.5.4 datalad==1.7.1 git-annex==10.20260901.post1
offers git-annex git-annex==10.20260901.post1
simulate "${1:-python3}"
clean_up() { stop_slurm; chmod -R u+w "$scratch"; }
evidence() { tail -n 30 "$work"/project/analysis/logs/* 2>/dev/null; }
work=$scratch/work
mkdir "$work" "$work/home" "$work/bin" "$work/jobs"
export HOME=$work/home
git config --global user.name check
git config --global user.email check@localhost
quiet() { datalad --log-level error "$@" >"$scratch/log" 2>&1 || { cat "$scratch/log"; fail "datalad $*"; }; }

# ---- a derivative and an image in DataLad, and the configuration with this machine's names ---------

quiet create "$work/fmriprep"
cp -r "$example/fmriprep/." "$work/fmriprep"
quiet save --dataset "$work/fmriprep"
if [ -n "${2:-}" ]; then
    provide_apptainer
    provide_sif "$2"
    ln -s "$(command -v apptainer)" "$work/bin/singularity"
else
    echo "stands for an image" >"$sif"
    cat >"$work/bin/singularity" <<'END'
#!/bin/bash
# run -B FOLDER --containall --cleanenv -B ATLAS IMAGE BIDS OUT participant ...: the words after the image are the app's
[ "$1 $2 $4 $5 $6" = "run -B --containall --cleanenv -B" ] && [ "$(cat "$8")" = "stands for an image" ] || { echo "unexpected: $*"; exit 99; }
case $9 in "$3"/*) ;; *) echo "not mounted: $9"; exit 99 ;; esac
exec semantoks "${@:9}"
END
    chmod +x "$work/bin/singularity"
fi
quiet create "$work/container"
quiet containers-add --dataset "$work/container" --url "$sif" semantoks-0-1-0
sed -e "s|\"/data/fmriprep\"|\"$work/fmriprep\"|; s|\"/tmp\"|\"$work/jobs\"|; s|# --atlas: /data/atlas.*|--atlas: $example/atlas\n    --no-reports: \"\"|" \
    -e "s|# - -B /data/atlas.*|- -B $example/atlas|" \
    -e "s|source ~/babs/bin/activate.*|export PATH=\"$work/bin:$PATH\" HOME=\"$HOME\" OMP_NUM_THREADS=1 APPTAINER_USERNS=1|; s|/bin/bash -l|/bin/bash|" \
    "$root/examples/runners/babs/semantoks.yaml" >"$work/semantoks.yaml"

# ---- init, check, submit, merge --------------------------------------------------------------------

expect 0 "babs init" babs init --container_ds "$work/container" --container_name semantoks-0-1-0 \
    --container_config "$work/semantoks.yaml" --processing_level subject --queue slurm "$work/project"
says "was successful"
[ "$(tail -n +2 "$work/project/analysis/code/processing_inclusion.csv" | tr '\n' ' ')" = "sub-01 sub-02 " ] || fail "not both participants"
expect 0 "babs check-setup" babs check-setup "$work/project"
start_slurm
expect 0 "babs submit" babs submit "$work/project"
wait_for "the end of the jobs" queue_is_empty
[ "$(grep -l '^SUCCESS' "$work"/project/analysis/logs/*.o* | wc -l)" = 2 ] || fail "not both jobs ended with SUCCESS"
expect 0 "babs status" babs status "$work/project"
says "2 job(s) successfully finished"
expect 0 "babs merge" babs merge "$work/project"

# ---- one folder of all zip files, and the group step -----------------------------------------------

quiet clone "ria+file://$work/project/output_ria#~data" "$work/results"
cd "$work/results"
quiet get .
ls ./*.zip
mkdir "$example/all"
for zip in *.zip; do unzip -q -o "$zip" -d "$example/all"; done
expect 0 "the group step" semantoks "$example/fmriprep" "$example/all/semantoks" group --no-reports
[ "$(grep -c embedded "$example/all/semantoks/group_status.tsv")" = 5 ] || fail "the table does not hold five scans"
same_tables "$example/all/semantoks"
