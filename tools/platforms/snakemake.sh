#!/usr/bin/env bash
# The Snakefiles of examples/runners/snakemake by Snakemake itself, alone and in a workflow of snakebids:
#     bash tools/platforms/snakemake.sh [PYTHON [IMAGE]]        PYTHON: with semantoks, default python3
# Lint, dry run, two participants and the group, again (nothing to do), another input (one participant), which fails.
# With IMAGE (as apptainer.sh takes it) its jobs run that in Apptainer, which sees the example and the working folder.
# One to three minutes. Needs snakemake 9.27 and snakebids 0.15, or a package index that has them; for IMAGE what _apptainer.sh names.
# Not tried: its cluster executors.
. "$(dirname "$0")/_common.sh"
. "$(dirname "$0")/_apptainer.sh"
offers snakemake snakemake==9.27.1 snakebids==0.15.0
offers snakebids snakebids==0.15.0
simulate "${1:-python3}"
rules=$root/examples/runners/snakemake
cat >"$scratch/config.yaml" <<END
fmriprep_dir: $example/fmriprep
output_dir: $example/the out
participant_options: --atlas $example/atlas --no-reports
group_options: --no-reports
END
deployment=()
if [ -n "${2:-}" ]; then
    provide_apptainer
    provide_sif "$2"
    echo "container: $sif" >>"$scratch/config.yaml"
    deployment=(--software-deployment-method apptainer --apptainer-args "--cleanenv --containall -B $example")
fi
flow() { snakemake --snakefile "$rules/$1" --configfile "$scratch/config.yaml" --directory "$scratch/run" --cores 2 "${deployment[@]}" "${@:2}"; }

for file in Snakefile snakebids.smk; do
    expect 0 "$file has no lint" flow $file --lint --config container=semantoks.sif
    expect 0 "$file plans" flow $file --dry-run
    says "participant  *2"
    says "total  *4"
done
[ ! -e "$example/the out" ] || fail "a dry run wrote something"
expect 0 "two participants, then the group" flow snakebids.smk
same "$example/the out"
[ "$(grep -c embedded "$example/the out/group_status.tsv")" = 5 ] || fail "the table does not hold five scans"
for file in snakebids.smk Snakefile; do
    expect 0 "$file again" flow $file
    says "Nothing to be done"
done

cd "$example/fmriprep/sub-02/ses-1/func"
sed -i '10,$d' ./*_desc-confounds_timeseries.tsv
expect 0 "an input of one participant is another" flow Snakefile --dry-run
says "participant  *1"
expect 1 "a scan of one participant fails" flow Snakefile --keep-going
grep -q "sub-02_ses-1.*failed" "$scratch/run/done/sub-02.log" || fail "the log does not say which"
[ ! -e "$scratch/run/done/sub-02" ] || fail "the participant counts as done"
grep -l '"Status": "embedded"' "$example/the out"/sub-02/*/func/*_status.json >"$scratch/embedded"
[ "$(wc -l <"$scratch/embedded")" = 2 ] || fail "its other scans are not kept"
say "ok: its other scans keep their outputs; the next call tries again"
