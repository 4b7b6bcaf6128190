# A SLURM of one node, for checks: `. "$(dirname "$0")/_one_node_slurm.sh"` after _common.sh, then start_slurm; clean_up calls
# stop_slurm. As root, with Debian's slurmctld, slurmd, slurm-client and munge (apt-get install --no-install-recommends ...).
# shellcheck shell=bash disable=SC2154
slurm=$scratch/slurm
node=$(hostname -s)
port=$((16000 + RANDOM % 8000 * 2))  # two checks may run at once
export SLURM_CONF=$slurm/slurm.conf

[ "$(id -u)" = 0 ] || skip "SLURM is started as root"
needs slurmctld slurmd sbatch munged setpriv pgrep

start_slurm() {
    install -d "$slurm" "$slurm/state" "$slurm/spool"
    install -d -m 700 -o munge "$slurm/munge"
    head -c 1024 /dev/urandom > "$slurm/munge/key"
    chown munge "$slurm/munge/key" && chmod 400 "$slurm/munge/key"
    install -d -m 755 -o munge "$slurm/run"
    setpriv --reuid=munge --regid=munge --clear-groups munged --key-file="$slurm/munge/key" --socket="$slurm/run/socket" \
        --pid-file="$slurm/run/munged.pid" --log-file="$slurm/munge/log" --seed-file="$slurm/munge/seed" --num-threads=2
    cat > "$SLURM_CONF" <<-CONF
		ClusterName=check
		SlurmctldHost=$node(127.0.0.1)
		SlurmctldPort=$port
		SlurmdPort=$((port + 1))
		CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
		SlurmUser=root
		AuthInfo=socket=$slurm/run/socket
		AuthType=auth/munge
		StateSaveLocation=$slurm/state
		SlurmdSpoolDir=$slurm/spool
		SlurmctldPidFile=$slurm/run/slurmctld.pid
		SlurmdPidFile=$slurm/run/slurmd.pid
		SlurmctldLogFile=$slurm/slurmctld.log
		SlurmdLogFile=$slurm/slurmd.log
		ProctrackType=proctrack/linuxproc
		TaskPlugin=task/none
		AccountingStorageType=accounting_storage/none
		JobAcctGatherType=jobacct_gather/none
		SelectType=select/cons_tres
		SelectTypeParameters=CR_CPU_Memory
		SchedulerType=sched/builtin
		SchedulerParameters=sched_interval=1
		ReturnToService=2
		JobRequeue=1
		KillWait=10
		NodeName=$node NodeAddr=127.0.0.1 CPUs=2 RealMemory=8000 State=UNKNOWN
		PartitionName=all Nodes=$node Default=YES MaxTime=INFINITE State=UP
		CONF
    slurmctld -f "$SLURM_CONF"
    start_node
    say "SLURM $(sinfo --version | cut -d' ' -f2) is up on $node"
}

start_node() {
    slurmd -f "$SLURM_CONF" -N "$node"
    for _ in $(seq 60); do sinfo --noheader --format=%T 2>/dev/null | grep -q idle && return; sleep 1; done
    fail "no idle node"
}

stop_slurm() {
    local daemon
    [ -f "$SLURM_CONF" ] || return 0
    scancel --user=root --user=nobody 2>/dev/null || true
    for daemon in slurmd slurmctld munged; do
        [ ! -f "$slurm/run/$daemon.pid" ] || kill "$(cat "$slurm/run/$daemon.pid")" 2>/dev/null || true
    done
    sleep 1
}

wait_for() { # wait_for LABEL COMMAND...: until the command succeeds
    local label=$1
    shift
    for _ in $(seq 1800); do "$@" && return; sleep 1; done
    fail "$label never came"
}
queue_is_empty() { [ -z "$(squeue --noheader)" ]; }
