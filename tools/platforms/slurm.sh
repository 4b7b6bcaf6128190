#!/usr/bin/env bash
# Run semantoks slurm against a real SLURM of one node on this machine, as root, by hand:
#     bash tools/platforms/slurm.sh [PYTHON]        PYTHON: with semantoks and its tests' tools, default python3
# 20 simulated participants in 10 tasks, a space in the path of the outputs; a task is killed, another's node is lost; the group step must
# wait; the same command again must finish the rest; the outputs must be those of one process.
# Needs slurmctld, slurmd, slurm-client and munge (Debian: apt-get install --no-install-recommends ...).
. "$(dirname "$0")/_common.sh"
. "$(dirname "$0")/_one_node_slurm.sh"
find_python "${1:-python3}"
work=$scratch
evidence() { squeue; tail -n 40 "$work/the out"/logs/slurm-*/*.log "$slurm"/slurmctld.log 2>/dev/null; }

clean_up() { stop_slurm; }
# As when the power fails: the daemon, those that watch the tasks, and the tasks end at once.
lose_node() {
    local shells watchers
    shells=$(scontrol listpids | awk 'NR > 1 && $1 > 0 {print $1}' | sort -u)
    watchers=$(for shell in $shells; do ps -o ppid= -p "$shell"; done | sort -u)
    kill -KILL "$(cat "$slurm/run/slurmd.pid")"
    # shellcheck disable=SC2046,SC2086
    kill -KILL $watchers $shells $(pgrep --full -- "-P -m bids_app $work/in ") 2>/dev/null || true
    scontrol update NodeName="$node" State=DOWN Reason="lost in a check"
}
start_slurm

# ---- 20 participants -------------------------------------------------------------------------------

PYTHONPATH=$root/tests/support:$root "$python" - "$work" <<'END'
import sys
from pathlib import Path
import builders
work = Path(sys.argv[1])
builders.make_dataset(work / "in", subjects=[f"{i:02d}" for i in range(1, 21)])
builders.make_atlas(work / "atlas")
builders.make_checkpoint(work / "checkpoint")
END
bin=$(dirname "$(command -v "$python")")
selection=("$work/in" "$work/the out" --atlas "$work/atlas" --checkpoint "$work/checkpoint")
submit() { "$bin/semantoks" slurm --participants-per-task 2 -- "${selection[@]:0:2}" participant "${selection[@]:2}" --n-cpus 1 --mem 2000 --quiet; }
done_runs() { find "$work/the out" -mindepth 2 -name '*_status.json' | wc -l; }
at_least() { [ "$(done_runs)" -ge "$1" ]; }
any_running() { pgrep --full -- "-P -m bids_app $work/in " > /dev/null; }
contents() { (cd "$1" && find . -type f ! -path './logs/*' ! -name 'group*' -print0 | sort -z | xargs -0 sha256sum); }
say "20 simulated participants"

# ---- a task killed, a node lost --------------------------------------------------------------------

submit > "$work/submitted"
cat "$work/submitted"
array=$(sed -n 's/.*array.sh as job //p' "$work/submitted")
first=$(head -n 1 "$work/the out"/logs/slurm-*/participants.txt)
processes() { pgrep --full -- "-P -m bids_app $work/in .* --participant-label $first\$"; }
is_running() { processes > /dev/null; }
wait_for "the first task" is_running
# shellcheck disable=SC2046
kill -KILL $(processes)
say "killed the first task of job $array with SIGKILL"
wait_for "more runs" at_least 4
wait_for "a task that runs" any_running
requeued=$(squeue --noheader --states=R --format=%K --jobs="$array" | tr '\n' ' ')
lose_node
say "the node is lost; tasks $requeued were running"
sleep 3
squeue --noheader --states=R | grep -q . && fail "tasks go on on a node that is down"
[ -z "$(pgrep --full -- "-P -m bids_app $work/in ")" ] || fail "processes are left of the lost node"
scontrol update NodeName="$node" State=RESUME
start_node
wait_for "the end of the array" queue_is_empty
say "after the first submission $(done_runs) of 20 runs are done"
[ "$(done_runs)" -lt 20 ] || fail "the killed task lost nothing: the check checks nothing"
[ ! -e "$work/the out/group_status.tsv" ] || fail "the group step ran although a task was killed"
grep -l . "$work/the out"/logs/slurm-*/*.log | wc -l | xargs -I{} echo "        {} task logs"
find "$work/the out" -name '*.part' | grep -q . && say "left half-written by the kill: $(find "$work/the out" -name '*.part' | wc -l) temporary files"

# ---- the same command again ------------------------------------------------------------------------

submit | tee "$work/submitted"
grep -q " 0 participants" "$work/submitted" && fail "nothing was left to do"
wait_for "the end of the second array" queue_is_empty
[ "$(done_runs)" = 20 ] || fail "expected 20 runs, found $(done_runs)"
[ "$(grep -c embedded "$work/the out/group_status.tsv")" = 20 ] || fail "the group table does not hold 20 runs"
submit > "$work/submitted"
grep -q "; 0 participants" "$work/submitted" || fail "a third submission finds something to do"
wait_for "the last group step" queue_is_empty
"$bin/semantoks" "$work/in" "$work/one" participant "${selection[@]:2}" --n-cpus 1 --quiet > /dev/null
find "$work/the out" "$work/one" -name '*.part' -delete
diff <(contents "$work/one") <(contents "$work/the out") || fail "other outputs than those of one process"
if "$python" -c "import submitit" 2>/dev/null; then
    (cd "$work" && PATH=$bin:$PATH "$python" - "${selection[@]}" <<'END'
import sys
import submitit
from submitit.helpers import CommandFunction
bids, _, *options = sys.argv[1:]
executor = submitit.AutoExecutor(folder="submitit", cluster="slurm")
executor.update_parameters(timeout_min=10, cpus_per_task=1, mem_gb=2, slurm_array_parallelism=2)
embed = CommandFunction(
    ["semantoks", bids, "two", "participant", "--n-cpus", "1", *options, "--participant-label"],
    verbose=False,
)
jobs = executor.map_array(embed, ["01", "02"])
assert all("1 embedded" in job.result() for job in jobs)
END
    ) || fail "submitit"
    diff <(contents "$work/two/sub-01") <(contents "$work/the out/sub-01") || fail "other outputs by submitit"
    say "ok: the same by submitit"
else
    say "submitit is not installed: left out"
fi
say "ok: 20 runs, one group table, the outputs of one process byte for byte"
