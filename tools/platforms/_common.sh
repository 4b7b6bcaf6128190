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
