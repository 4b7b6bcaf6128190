#!/usr/bin/env bash
# A derivative kept by DataLad, of which nothing was fetched, and outputs kept by DataLad:
#     bash tools/platforms/datalad.sh [PYTHON [IMAGE]]        PYTHON: with semantoks, default python3
# Locked (dangling links) and unlocked files (pointers): what is missing is listed, fetched, embedded; then one `datalad run`.
# With IMAGE (as apptainer.sh takes it) in another dataset the same by `datalad containers-run`, with the image in that dataset.
# Two minutes, with IMAGE three. Needs git, datalad 1.7 and git-annex 10 (Debian 12's is enough), or a package index that has both; for
# IMAGE datalad-container 1.2 and what _apptainer.sh names.
. "$(dirname "$0")/_common.sh"
. "$(dirname "$0")/_apptainer.sh"
needs git
offers datalad datalad==1.7.1 datalad-container==1.2.6 git-annex==10.20261026
offers git-annex git-annex==10.20261026
simulate "${1:-python3}"
if [ -n "${2:-}" ]; then
    datalad containers-run --help >/dev/null 2>&1 || skip "datalad-container is not installed"
    provide_apptainer
    provide_sif "$2"
fi
export HOME=$scratch/home GIT_AUTHOR_NAME=check GIT_AUTHOR_EMAIL=check@localhost GIT_COMMITTER_NAME=check GIT_COMMITTER_EMAIL=check@localhost
mkdir "$HOME"
clean_up() { chmod -R u+w "$scratch"; }
quiet() { datalad --log-level error "$@" >"$scratch/log" 2>&1 || { cat "$scratch/log"; fail "datalad $*"; }; }
embed() { semantoks "$1" "$2" participant --atlas "$example/atlas" --no-reports "${@:3}"; }
tables() { (cd "$1" && find -L . -name '*_embedding.tsv' ! -name 'group*' -print0 | sort -z | xargs -0 sha256sum); }
fetch() { (cd "$1" && xargs -d '\n' datalad get) <"$2"; }

# ---- a dataset: sub-01 locked, sub-02 unlocked; a clone without content ----------------------------

quiet create "$scratch/origin"
cd "$scratch/origin"
cp -r "$example/fmriprep/." .
echo '*.json annex.largefiles=nothing' >>.gitattributes
quiet save
git annex unlock --quiet sub-02
git commit --quiet --message "sub-02 is unlocked"
quiet clone "$scratch/origin" "$example/clone"
cd "$example"
image=func/sub-01_ses-1_task-rest_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz
[ -L clone/sub-01/ses-1/$image ] && [ ! -e clone/sub-01/ses-1/$image ] || fail "sub-01 is not locked"
grep -q "^/annex/objects/" clone/sub-02/ses-1/func/*desc-preproc_bold.nii.gz || fail "sub-02 is not unlocked"
say "a clone without content: dangling links of sub-01, pointers of sub-02"

# ---- list, fetch, embed ----------------------------------------------------------------------------

expect 16 "nothing is fetched, nothing can be embedded" embed clone out
says "datalad get"
[ ! -e out ] || fail "an output folder was made"
expect 16 "a dry run lists what sub-01 lacks" embed clone out --dry-run --list-missing missing --participant-label 01
[ "$(wc -l <missing)" = 6 ] || fail "expected image, mask and confounds of two scans"
expect 0 "fetch it" fetch clone missing
expect 0 "sub-01 is embedded beside pointers" embed clone out --participant-label 01
expect 1 "of all, sub-02 is not there" embed clone out --dry-run --list-missing missing
! grep -q sub-01 missing || fail "what is there is listed"
expect 0 "fetch the rest" fetch clone missing
expect 0 "the rest is embedded" embed clone out
says "2 embedded earlier.*, 3 embedded"
same_tables out
[ -z "$(git -C clone status --porcelain)" ] || fail "the input changed"
say "ok: the input is as it was"

# ---- input and outputs in one dataset, each step recorded ------------------------------------------

quiet create study
cd study
quiet clone --dataset . "$scratch/origin" inputs/fmriprep
call() { # call INPUT WORDS...: datalad fetches the input, unlocks the outputs, and saves what was written
    datalad run --input "$1" --output embeddings "semantoks inputs/fmriprep embeddings ${*:2} --no-reports"
}
for label in 01 02; do
    expect 0 "sub-$label by datalad run" call inputs/fmriprep/sub-$label "participant --atlas ../atlas --participant-label $label"
done
expect 0 "the group by datalad run" call embeddings group
[ "$(grep -c embedded embeddings/group_status.tsv)" = 5 ] || fail "the table does not hold five scans"
[ -L embeddings/group_status.tsv ] || fail "outputs are not in the annex"
[ "$(git log --oneline | grep -c RUNCMD)" = 3 ] || fail "not three recorded calls"
expect 0 "participants again" call inputs/fmriprep "participant --atlas ../atlas"
says "5 embedded earlier"
[ -z "$(git status --porcelain)" ] || fail "the dataset is not clean"
expect 0 "the last recorded call again" datalad rerun HEAD
diff <(contents ../out | grep embedding.tsv) <(tables embeddings) || fail "other embeddings"
say "ok: three recorded calls, again they add a log and nothing else"
[ -n "${2:-}" ] || exit 0

# ---- the same by an image that the dataset holds ---------------------------------------------------

cd "$example"
quiet create contained
cd contained
quiet clone --dataset . "$scratch/origin" inputs/fmriprep
quiet containers-add semantoks --url "$sif" \
    --call-fmt "apptainer run --cleanenv --containall -B {{pwd}} -B $example/atlas --pwd {{pwd}} {img} {cmd}"
contained() { # contained INPUT WORDS...
    datalad containers-run --container-name semantoks --input "$1" --output embeddings "inputs/fmriprep embeddings ${*:2} --no-reports"
}
for label in 01 02; do
    expect 0 "sub-$label by datalad containers-run" contained inputs/fmriprep/sub-$label "participant --atlas $example/atlas --participant-label $label"
done
expect 0 "the group by datalad containers-run" contained embeddings group
[ "$(grep -c embedded embeddings/group_status.tsv)" = 5 ] || fail "the table does not hold five scans"
git show --format=%B --no-patch HEAD >"$scratch/log"
says "environments/semantoks/image"
[ -z "$(git status --porcelain)" ] || fail "the dataset is not clean"
expect 0 "the last recorded call again" datalad rerun HEAD
diff <(tables ../study/embeddings) <(tables embeddings) || fail "other embeddings than those of datalad run"
say "ok: the image is an input of each recorded call"
