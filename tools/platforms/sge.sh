#!/usr/bin/env bash
# Run the SGE recipe of docs/scale.md against Debian's Grid Engine of one node, as root, by hand, on a machine to throw away:
#     bash tools/platforms/sge.sh [PYTHON]        PYTHON: with semantoks and its tests' tools, default python3
# Three participants, one without confounds; then the table has two scans and one reason, and who is left is told. A minute.
# Ends with 77 where it cannot run. Needs gridengine-master, -exec, -client (apt-get install --no-install-recommends ...).
. "$(dirname "$0")/_common.sh"
find_python "${1:-python3}"
work=$scratch
evidence() { qstat -f; tail -n 20 "$work"/semantoks* "$work"/todo.tsv 2>/dev/null; }

[ "$(id -u)" = 0 ] || skip "Grid Engine is started as root"
needs sge_qmaster sge_execd qsub qconf
[ -d /var/lib/gridengine/default/common ] || skip "no cell of Debian's Grid Engine"
! pgrep -x sge_qmaster >/dev/null || skip "a Grid Engine runs here already"

export SGE_ROOT=/var/lib/gridengine SGE_CELL=default
host=localhost
aliases=$SGE_ROOT/default/common/host_aliases
clean_up() {
    qdel -f -u root >/dev/null 2>&1 || true
    qconf -dq check.q >/dev/null 2>&1 || true
    kill "$(cat /var/spool/gridengine/execd/*/execd.pid)" 2>/dev/null || true
    qconf -de "$host" >/dev/null 2>&1 || true
    kill "$(cat /var/spool/gridengine/qmaster/qmaster.pid)" 2>/dev/null || true
    for _ in $(seq 20); do pgrep -x sge_qmaster >/dev/null || break; sleep 0.5; done
    if [ -e "$work/aliases" ]; then cp "$work/aliases" "$aliases"; else rm -f "$aliases"; fi
}

# ---- a cluster of one node -------------------------------------------------------------------------

[ ! -e "$aliases" ] || cp "$aliases" "$work/aliases"
echo "localhost $(hostname)" > "$aliases"
setpriv --reuid=sgeadmin --regid=sgeadmin --clear-groups env SGE_ROOT=$SGE_ROOT SGE_CELL=$SGE_CELL /usr/sbin/sge_qmaster
for _ in $(seq 30); do qconf -sh >/dev/null 2>&1 && break; sleep 0.5; done
qconf -as "$host" >/dev/null 2>&1 || true
printf '%s NONE\n' load_scaling complex_values user_lists xuser_lists projects xprojects usage_scaling report_variables |
    cat <(echo "hostname $host") - > "$work/host"
qconf -Ae "$work/host" >/dev/null 2>&1 || true
qconf -sconf | sed 's/^min_uid .*/min_uid 0/; s/^min_gid .*/min_gid 0/' > "$work/global"
(cd "$work" && qconf -Mconf global) >/dev/null
qconf -ssconf | sed 's/^schedule_interval .*/schedule_interval 0:0:2/; s/^flush_\(.*\)_sec .*/flush_\1_sec 1/' > "$work/scheduler"
qconf -Msconf "$work/scheduler" >/dev/null
# Of the queue that Grid Engine proposes, but for a task that no other program holds up.
qconf -sq | sed -e 's/^qname .*/qname check.q/' -e "s/^hostlist .*/hostlist $host/" -e 's/^slots .*/slots 2/' \
    -e 's/^load_thresholds .*/load_thresholds NONE/' -e 's/^pe_list .*/pe_list NONE/' > "$work/queue"
qconf -dq check.q >/dev/null 2>&1 || true  # of a check that was killed
qconf -Aq "$work/queue" >/dev/null
/usr/sbin/sge_execd
for _ in $(seq 60); do qstat -f | grep -q 'lx-amd64 *$' && break; sleep 1; done
say "Grid Engine $(qstat -help | head -n 1) is up on $host"

# ---- the recipe ------------------------------------------------------------------------------------

PYTHONPATH=$root/tests/support:$root "$python" - "$work" "$root/docs/scale.md" <<'END'
import re, sys
from pathlib import Path
import builders
work, page = map(Path, sys.argv[1:])
data = builders.make_dataset(work / "in", subjects=("01", "02", "03"))
data.scans[1].confounds.unlink()
builders.make_atlas(work / "home/atlas")
blocks = re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL)
for name, begins in (("task.sh", "#!/bin/bash"), ("submit.sh", "semantoks todo")):
    (text,) = (block for block in blocks if block.startswith(begins))
    text = text.replace("/data/fmriprep", f"{work}/in").replace("/data/embeddings", f"{work}/out")
    (work / name).write_text(text.partition("# PBS")[0])
END
PATH=$(dirname "$python"):$PATH
export SEMANTOKS_HOME=$work/home PATH OMP_NUM_THREADS=1
cd "$work"
bash submit.sh
for _ in $(seq 120); do [ -z "$(qstat)" ] && break; sleep 1; done
[ -z "$(qstat)" ] || fail "jobs are left after two minutes"
[ -e out/group_status.tsv ] || fail "no table of the cohort"
[ "$(cut -f 4 out/group_status.tsv | tail -n +2 | tr '\n' ' ')" = "embedded failed embedded " ] || fail "other outcomes"
say "ok: three tasks, then the table, with two scans and one reason"
[ "$(semantoks todo in out --task-id rest --quiet | cut -f 1)" = 02 ] || fail "another one is left"
say "ok: the one that failed is left to do"
