# What every check of a platform begins with: `. "$(dirname "$0")/_common.sh"`.
# Exit codes: 0 all passed, 1 something failed, 77 could not run here (and says why).
# shellcheck shell=bash
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
scratch=$(mktemp -d)
chmod 755 "$scratch"

say() { printf '%4d s  %s\n' "$SECONDS" "$*"; }
skip() { echo "SKIPPED: $*"; exit 77; }
fail() { say "FAILED: $*"; declare -F evidence >/dev/null && evidence || true; exit 1; }
needs() { # needs TOOL...: or the check is skipped
    local tool
    for tool in "$@"; do command -v "$tool" >/dev/null || skip "$tool is not installed"; done
}

find_python() { # find_python NAME: `python` is its path, wherever the check goes
    python=$(command -v "$1") || skip "no $1"
    case $python in /*) ;; *) python=$PWD/$python ;; esac
}

# A check defines `clean_up` where it starts daemons or names images, and `evidence` for what a failure shows.
leave() { declare -F clean_up >/dev/null && clean_up || true; rm -rf "$scratch"; }
trap leave EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

expect() { # expect CODE LABEL COMMAND...: run, compare the exit code, keep the output in $scratch/log
    local wanted=$1 label=$2 begun=$SECONDS code=0
    shift 2
    "$@" >"$scratch/log" 2>&1 </dev/null || code=$?
    if [ "$code" != "$wanted" ]; then
        cat "$scratch/log"
        fail "$label: expected exit code $wanted, found $code"
    fi
    say "ok, exit $code after $((SECONDS - begun)) s: $label"
}
says() { grep -q -- "$1" "$scratch/log" || { cat "$scratch/log"; fail "the output lacks: $1"; }; }
# Every file below a folder but logs, with its hash.
contents() { (cd "$1" && find . -type f ! -path './logs/*' -print0 | sort -z | xargs -0 sha256sum); }

# ---- for the checks of runners: programs of the package index, and the study of `semantoks demo` -------

offers() { # offers COMMAND REQUIREMENT...: COMMAND of PATH, else of an environment made here; or the check is skipped
    local command=$1 tools=$scratch/tools
    shift
    if ! command -v "$command" >/dev/null; then
        say "installing $*"
        python3 -m venv "$tools"
        "$tools/bin/pip" install --quiet "$@" >"$scratch/log" 2>&1 || { tail -n 3 "$scratch/log"; skip "pip cannot install $*"; }
        PATH=$PATH:$tools/bin
    fi
    command -v "$command" >/dev/null || skip "$* has no $command"
}
example=$scratch/example
# simulate PYTHON: its semantoks on PATH; $example/fmriprep, $example/atlas, and of one process, without reports, $example/one.
# SEMANTOKS_EXAMPLE names a folder where they are kept for the next check: made there if it is new.
simulate() {
    local kept=${SEMANTOKS_EXAMPLE:-$example}
    PATH=$(dirname "$(command -v "$1")"):$PATH
    export OMP_NUM_THREADS=1
    if [ ! -e "$kept" ]; then
        "$1" -c 'import sys; from pathlib import Path; from bids_app.demo.recovery import write_example; write_example(Path(sys.argv[1]))' "$kept"
        semantoks "$kept/fmriprep" "$kept/one" participant --atlas "$kept/atlas" --no-reports --quiet >/dev/null
    fi
    [ "$kept" = "$example" ] || cp -a "$kept" "$example"
    say "five simulated scans of two participants, and what one process makes of them"
}
same() { # same FOLDER: beside the other study, is it what one process made, byte for byte, apart from group files
    diff <(contents "$example/one") <(contents "$1" | grep -v " \./group") || fail "other outputs than those of one process"
    say "ok: the outputs of one process, byte for byte"
}
same_tables() { # same_tables FOLDER: the tables alone, where sidecars and status tell other paths or times of inputs
    local kind
    for kind in timeseries.tsv embedding.tsv coverage.tsv tokens_embedding.npy; do
        diff <(contents "$example/one" | grep "$kind") <(contents "$1" | grep "$kind" | grep -v " \./group") || fail "other $kind than those of one process"
    done
    say "ok: the tables of one process, byte for byte"
}
