#!/usr/bin/env bash
# Does self-distillation add to whitened first weights? One call on a lent GPU, under ten minutes.
#
#   tools/gpu_train.sh [--tiny] OUT [SHARDS...]
#
# For each seed: first weights whitened (on the shards' training subjects, or on the simulator), then
# self-distillation from there on a part and on all of the training subjects, then the scores of both
# on held-out people: OUT/seed-N/{start,scaling}, and the gains of all seeds in OUT/gains.tsv. SHARDS
# are folders with train.txt, validation.txt and test.txt (semantoks-model shards split); none: simulation.
#
# The same call goes on where an earlier one ended, by time (exit code 75) or by a kill. All that it
# does is in OUT/*.toml, which may be edited before a second call. Settings, with their defaults:
#   SEEDS="1 2 3"  BUDGET_S=540  DEVICE=cuda  PYTHON=python
#   SIZES="64 256" (training subjects; with SHARDS all of them if there are fewer)
#   STEPS=400  BATCH=64  RATE=0.001  DIM=256  DEPTH=2  HEADS=4  PARTITION='["networks"]'  PAIRING=sessions
# --tiny: seconds of work on a CPU, to try the script itself.
#
# Needs torch and what training needs (numpy, scipy, h5py, click, safetensors, matplotlib); nothing is installed.
set -euo pipefail

tiny=false
if [ "${1:-}" = --tiny ]; then tiny=true; shift; fi
[ $# -ge 1 ] || { sed -n '2,21s/^# \{0,1\}//p' "$0"; exit 2; }
out=$1; shift
root=$(cd "$(dirname "$0")/.." && pwd)

if $tiny; then
  : "${SEEDS:=1 2}" "${DEVICE:=cpu}" "${STEPS:=3}" "${BATCH:=4}" "${DIM:=16}" "${DEPTH:=1}" "${HEADS:=2}" "${SIZES:=4 8}"
fi
: "${SEEDS:=1 2 3}" "${BUDGET_S:=540}" "${DEVICE:=cuda}" "${PYTHON:=python}" "${SIZES:=64 256}"
: "${STEPS:=400}" "${BATCH:=64}" "${RATE:=0.001}" "${DIM:=256}" "${DEPTH:=2}" "${HEADS:=4}"
: "${PARTITION:=[\"networks\"]}" "${PAIRING:=sessions}"
precision=fp32; [ "$DEVICE" = cpu ] || precision=bf16
deadline=$((SECONDS + BUDGET_S))

model() { # one command of semantoks-model, within the time that is left
  local left=$((deadline - SECONDS))
  [ "$left" -gt 0 ] || return 124
  PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" timeout --signal=TERM --kill-after=20 "$left" \
    "$PYTHON" -c 'from model.cli.app import main; main()' "$@"
}

list() { # its words as a TOML list
  local text='' word
  for word in "$@"; do text+="${text:+, }\"$word\""; done
  echo "[$text]"
}

mkdir -p "$out"; out=$(cd "$out" && pwd)
folders=(); for folder in "$@"; do folders+=("$(cd "$folder" && pwd)"); done

learn_from='[simulation]'
fit=''
if [ ${#folders[@]} -gt 0 ]; then
  learn_from=$(printf '[data]\nshards = "%s"\nmore_shards = %s\ntrain = "train.txt"\nvalidation = "validation.txt"\ntest = "test.txt"\n' \
    "${folders[0]}" "$(list "${folders[@]:1}")")
  fit=$(printf '[fit]\nshards = %s\nsubjects = "train.txt"\n' "$(list "${folders[@]}")")
  n_train=$(cat "${folders[@]/%//train.txt}" | grep -c .)
  kept=''; for size in $SIZES; do [ "$size" -ge "$n_train" ] || kept+="$size "; done
  SIZES="${kept:-$((n_train / 2)) }$n_train"
  for size in $SIZES; do [ "$BATCH" -le "$size" ] || BATCH=$size; done
fi
# shellcheck disable=SC2001,SC2086 # words, with one space between them
sizes=$(echo $SIZES | sed 's/ /, /g')

write() { # a file, unless it is there
  [ -e "$1" ] || cat > "$1"
}

for seed in $SEEDS; do
  here="$out/seed-$seed"; mkdir -p "$here"
  write "$here/start.toml" <<TOML
[run]
name = "semantoks-start"
version = "0"
seed = $seed
n_steps = 0
batch_size = $BATCH
save_every = 1
readout = ["networks"]
init = "high-pass"
whitening = 0.3

[encoder]
dim = $DIM
depth = $DEPTH
heads = $HEADS
groups = $PARTITION

[input]

[views]
pairing = "$PAIRING"

[objective]

[optimizer]
learning_rate = $RATE

$learn_from

$fit
TOML
  write "$here/distil.toml" <<TOML
[run]
name = "semantoks-distilled"
version = "0"
seed = $seed
n_steps = $STEPS
batch_size = $BATCH
save_every = 50
readout = ["networks"]
init = "$here/start/checkpoint"
fixed_whitening = true
precision = "$precision"

[views]
pairing = "$PAIRING"

[objective]
ttr_weight = 2.0
ttr_share = 2.0
ttr_rate = "per_network"

[optimizer]
learning_rate = $RATE
warmup_share = 0.1
teacher_momentum = 0.98

$learn_from
TOML
  held_out=''
  [ ${#folders[@]} -gt 0 ] || held_out=$(printf '[held_out]\nn_subjects = %s\nn_samples = 240\nseed = 20261123\n' "$($tiny && echo 4 || echo 100)")
  write "$here/plan.toml" <<TOML
recipe = "distil.toml"
sizes = [$sizes]
seeds = [$seed]

$held_out
TOML
done

over() { echo "time is over: the same call goes on."; exit 75; }

for seed in $SEEDS; do
  here="$out/seed-$seed"
  if [ ! -e "$here/start/checkpoint/card.json" ]; then
    model pretrain "$here/start.toml" "$here/start" --device "$DEVICE" || { [ $? -ne 124 ] || over; exit 1; }
  fi
  model scale "$here/plan.toml" "$here/scaling" --device "$DEVICE" || { [ $? -ne 124 ] || over; exit 1; }
done

# shellcheck disable=SC2086 # words of their own
"$PYTHON" - "$out" $SEEDS <<'PY'
"""Join the gains of all seeds, and say mean and range of each."""
import json
import sys
from pathlib import Path

out, seeds = Path(sys.argv[1]), sys.argv[2:]
found = {}
for seed in seeds:
    for law in json.loads((out / f"seed-{seed}/scaling/scaling.json").read_text())["laws"]:
        for size, gains in law["gains"].items():
            found.setdefault((law["data"], law["score"], int(size)), []).extend(gains)
lines = ["data\tscore\tn_subjects\tgains\tmean"]
for (data, score, size), gains in sorted(found.items()):
    told = "; ".join(f"{gain:+.2f}" for gain in gains)
    lines.append(f"{data}\t{score}\t{size}\t{told}\t{sum(gains) / len(gains):+.2f}")
(out / "gains.tsv").write_text("\n".join(lines) + "\n")
print("\n".join(line for line in lines if "identification" in line or "probe" in line))
print(out / "gains.tsv")
PY
