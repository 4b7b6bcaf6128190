#!/usr/bin/env bash
# Run the image with Apptainer as README.md, docs/install.md and docs/containers.md say, then as jobs of a real SLURM, as root, by hand:
#     bash tools/platforms/apptainer.sh [PYTHON] [IMAGE]
# PYTHON: with semantoks of this checkout and its tests' tools, default python3. IMAGE: of Docker or podman, default semantoks-check,
# which tools/platforms/container.sh leaves behind; or a .sif file. It must hold the code of this checkout.
# All runs are those of the user nobody, who has no home: files of that owner, outputs byte for byte those of PYTHON, an input that stays
# as it was, no network, a read-only image; an array over participants and its group step; missing mounts; a signal in the middle.
# Needs Apptainer, or what _apptainer.sh makes one of, and what _one_node_slurm.sh names. 10 minutes, and 3 to make the SIF (two cores).
. "$(dirname "$0")/_common.sh"
. "$(dirname "$0")/_one_node_slurm.sh"
. "$(dirname "$0")/_apptainer.sh"
find_python "${1:-python3}"
image=${2:-semantoks-check}
clean_up() { stop_slurm; }
evidence() { [ ! -f "$SLURM_CONF" ] || squeue; tail -n 40 "$work"/*/logs/slurm-*/*.log "$slurm/slurmctld.log" 2>/dev/null; }

provide_apptainer
work="$scratch/a b"
install -d -o nobody "$work"
as_user() { setpriv --reuid=nobody --regid=nogroup --clear-groups env -i "PATH=$PATH" HOME=/nonexistent "SLURM_CONF=$SLURM_CONF" "$@"; }
literally() { # literally FILE BEGINNING [NAME=VALUE]: the line of a page that begins so, with this machine's names in it
    local line
    line=$(grep -m1 "^ *$2" "$root/$1") || fail "$1 has no line that begins with: $2"
    line=$(sed -e "s#/data/fmriprep#$scratch/demo/fmriprep#" -e "s#/data/embeddings#$scratch/out#" -e "s#\bOUT\b#$scratch/demo#" <<<"$line")
    as_user "${@:3}" bash -c "cd '$scratch' && $line"
}
same() { # same FOLDER FOLDER LABEL [PATTERN]: but for logs, and names that match the pattern
    local left_out=${4:-/logs/}
    diff <(contents "$1" | grep -v -e "$left_out") <(contents "$2" | grep -v -e "$left_out") || fail "$3: other bytes"
    say "ok: $3: the same bytes in $(contents "$1" | grep -v -c -e "$left_out") files"
}
belongs_to_user() {
    [ -z "$(find "$1" ! -user nobody -print -quit)" ] || fail "files of another owner than nobody in $1"
    [ -z "$(find "$1" -name '*.part' -print -quit)" ] || fail "partial files in $1"
}

# ---- the SIF ---------------------------------------------------------------------------------------

provide_sif "$image"
strict=(as_user apptainer --quiet)
isolated=(--cleanenv --containall --net --network none)
expect 0 "--version" "${strict[@]}" run "${isolated[@]}" "$sif" --version
# shellcheck disable=SC2016
expect 0 "no network, no place to write" "${strict[@]}" exec "${isolated[@]}" "$sif" sh -c \
    'test "$(grep -c : /proc/net/dev)" = 1 && ! touch /opt/x && ! touch /out/x'
says "Read-only file system"

# ---- the demo, and README's line upon what it wrote ------------------------------------------------

install -d -o nobody "$scratch/demo"
expect 0 "docs/containers.md: the demo" literally docs/containers.md "apptainer exec --cleanenv"
grep -A 7 '^Extracted series' "$scratch/log"
belongs_to_user "$scratch/demo"
expect 0 "the demo of PYTHON" "$python" -m bids_app demo "$scratch/plain demo"
# The status of a scan holds the times of its inputs, which were written twice here.
same "$scratch/plain demo" "$scratch/demo" "the demo" '/logs/\|_status.json'
before=$(contents "$scratch/demo/fmriprep"; find "$scratch/demo/fmriprep" "$scratch/demo/atlas" -printf '%p %m %u %T@\n' | sort)
for line in "README.md apptainer run" "docs/install.md apptainer run" "docs/containers.md apptainer run --cleanenv --containall"; do
    rm -rf "$scratch/out"
    install -d -o nobody "$scratch/out"
    expect 0 "$line" literally "${line%% *}" "${line#* }" "APPTAINER_BIND=$scratch/demo/atlas:/opt/semantoks/home/atlas:ro"
    belongs_to_user "$scratch/out"
    same "$scratch/demo/semantoks/sub-01" "$scratch/out/sub-01" "$line"
done
[ "$before" = "$(contents "$scratch/demo/fmriprep"; find "$scratch/demo/fmriprep" "$scratch/demo/atlas" -printf '%p %m %u %T@\n' | sort)" ] || fail "the input changed"
say "ok: the input is as it was"

# ---- faults ----------------------------------------------------------------------------------------

mount=(-B "$scratch/demo/fmriprep:/bids:ro" -B "$scratch/out:/out" -B "$scratch/demo/atlas:/atlas:ro")
participant=("$sif" /bids /out participant --atlas /atlas)
run=("${strict[@]}" run "${isolated[@]}")
expect 16 "the input is not mounted" "${run[@]}" "${mount[@]:2}" "${participant[@]}"
says "/bids is empty"
says "In a container"
expect 73 "the output is not mounted" "${run[@]}" "${mount[@]:0:2}" "${mount[@]:4}" "${participant[@]}"
says "In a container"
expect 78 "the atlas is not mounted" "${run[@]}" "${mount[@]:0:4}" "${participant[@]}"
says "no atlas is installed in /atlas"
expect 255 "what is mounted does not exist" "${run[@]}" -B "$scratch/nowhere:/bids:ro" "${participant[@]}"
says "$scratch/nowhere doesn't exist"

# ---- an array of participants as jobs of SLURM -----------------------------------------------------

start_slurm
PYTHONPATH=$root/tests/support:$root "$python" - "$work" <<'PYTHON'
import sys
from pathlib import Path
import builders
work = Path(sys.argv[1])
builders.make_dataset(work / "in", subjects=("01", "02", "03", "04"))
builders.make_atlas(work / "atlas")
builders.make_checkpoint(work / "checkpoint")
PYTHON
options=(--atlas "$work/atlas" --checkpoint "$work/checkpoint")
# Who submits needs a Python that may be executed: one in the home of root may not.
submits=(as_user "$python")
if ! "${submits[@]}" -c "" 2>/dev/null; then
    packages=$("$python" -c 'import sys; print(*(p for p in sys.path if p.endswith("-packages")), sep=":")')
    submits=(as_user "PYTHONPATH=$root:$packages" /usr/bin/python3)
    "${submits[@]}" -c "import bids_app.cli.app" 2>/dev/null || skip "nobody may execute neither $python nor its packages by /usr/bin/python3"
fi
submit() { (cd "$work" && "${submits[@]}" -m bids_app slurm --image "$sif" --participants-per-task 1 -- "$@" --n-cpus 1 --mem 2000); }
expect 0 "semantoks slurm --image" submit "$work/in" "$work/by slurm" participant "${options[@]}"
says "4 participants have scans to do"
wait_for "the end of the array" queue_is_empty
[ -e "$work/by slurm/group_status.tsv" ] || fail "no table of the cohort"
expect 0 "the same by PYTHON" "$python" -m bids_app "$work/in" "$work/plain" participant "${options[@]}" --n-cpus 1
expect 0 "its group step" "$python" -m bids_app "$work/in" "$work/plain" group
belongs_to_user "$work/by slurm"
same "$work/plain" "$work/by slurm" "four tasks and the group step in Apptainer"
expect 0 "the same command again" submit "$work/in" "$work/by slurm" participant "${options[@]}"
says "; 0 participants have scans to do"
wait_for "the end of the group step" queue_is_empty
expect 0 "paths from the folder of the submission" submit in "by name" participant --atlas atlas --checkpoint checkpoint
wait_for "the end of the array" queue_is_empty
same "$work/plain" "$work/by name" "paths from the folder of the submission"

# A task that is cancelled ends where all is whole.
expect 0 "a third submission" submit in cancelled participant --atlas atlas --checkpoint checkpoint --participant-label 01
wait_for "a task that runs" sh -c "squeue --noheader --states=R | grep -q ."
sleep 3
scancel --batch --signal=TERM "$(sed -n 's/.*array.sh as job //p' "$scratch/log")"
wait_for "its end" queue_is_empty
belongs_to_user "$work/cancelled"
[ ! -e "$work/cancelled/group_status.tsv" ] || fail "the group step ran although a task was cancelled"
say "all passed"
