#!/usr/bin/env bash
# Build the image and run it as README.md and docs/containers.md say, under the strictest conditions: no network, read-only
# root, a user that does not exist, no capabilities. Then: what is in the image and how large it is, how long a scan takes
# inside and outside, wrong inputs, a signal, the atlas and the paper's weights by build argument.
#     bash tools/platforms/container.sh [TREE]          TREE: what to build, default this checkout
# Needs Docker, or podman, crun and buildah as root; Python 3.11. In parts, said as SKIPPED and with exit code 77 at the end:
# `semantoks` on the PATH or in .venv (times outside), atlas sources in SEMANTOKS_ATLAS_SOURCES or ../shared/data/atlases.
# About ten minutes on two cores. Leaves the image semantoks-check: its layers make the next build quick.
. "$(dirname "$0")/_common.sh"
tree=$(cd "${1:-$root}" && pwd)
image=semantoks-check
servers=()
clean_up() {
    stop_building
    [ ${#servers[@]} = 0 ] || kill "${servers[@]}" 2>/dev/null
    docker rm --force "$image-$$" >/dev/null 2>&1
    docker rmi --force "$image-atlas" "$image-assets" >/dev/null 2>&1
    [ -z "${replaced:-}" ] || docker rmi "$replaced" >/dev/null 2>&1
}
skipped=0
leaves_out() { say "SKIPPED: $*"; skipped=$((skipped + 1)); }
. "$root/tools/image/engine.sh"

# ---- conditions and comparisons --------------------------------------------------------------------

user=12345
if [ "$(id -u)" != 0 ]; then user=$(id -u); fi
strict=(--rm --network none --read-only --user "$user:$user" --cap-drop all --tmpfs /tmp)
strict+=(--security-opt no-new-privileges)

new_folder() { install -d "$1"; [ "$(id -u)" != 0 ] || chown "$user:$user" "$1"; }

fingerprint() { (cd "$1" && find . -printf '%p %m %U:%G %T@ %y\n' | sort) && contents "$1"; }

unchanged() { # unchanged FOLDER FINGERPRINT LABEL
    fingerprint "$1" | diff "$2" - >"$scratch/diff" || { cat "$scratch/diff"; fail "$3"; }
    say "ok: $3"
}

readme_line() { # readme_line BEGINNING [IMAGE]: a line of README.md with this machine's names in it
    grep -m1 "^$1" "$tree/README.md" | sed -e "s# semantoks # ${2:-$image} #" -e "s#/data/fmriprep#$scratch/demo/fmriprep#" \
        -e "s#/data/embeddings#$scratch/readme#" || fail "README.md has no line that begins with: $1"
}

# ---- build -----------------------------------------------------------------------------------------

cd "$tree" || exit
before=$(docker image inspect --format '{{.Id}}' $image 2>/dev/null || true)
builds "README: docker build" bash -c "$(readme_line 'docker build')"
[ "$before" = "$(docker image inspect --format '{{.Id}}' $image)" ] || replaced=$before
say "size: $(docker image inspect --format '{{.Size}}' $image | awk '{printf "%.2f GB", $1 / 1e9}')"

# ---- what is inside --------------------------------------------------------------------------------

inside() { docker run "${strict[@]}" --entrypoint "$1" $image "${@:2}"; }
expect 0 "largest parts, in MB" inside sh -c 'cd /opt/venv/lib/python3*/site-packages; du -sm * | sort -rn | head -8; du -sm .'
sed 's/^/        /' "$scratch/log"
expect 0 "no tests, no headers, no pip" inside sh -c \
    'cd /opt/venv/lib/python3*/site-packages; test ! -e pip && test ! -e torch/include && test ! -e torch/test && test ! -e pandas/tests'
expect 0 "no bytecode holds the time of its source" inside python3 -c '
from pathlib import Path
hashed = (1).to_bytes(4, "little")
held = [path for path in Path("/opt").rglob("*.pyc") if path.read_bytes()[4:8] != hashed]
assert not held, held[:5]'
expect 0 "every module of ours can be imported" inside python3 -c '
import importlib, pkgutil
names = [m.name for p in ("bids_app", "model", "semantoks") for m in pkgutil.walk_packages(importlib.import_module(p).__path__, p + ".")]
missing = set()
for name in names:
    if not name.endswith("__main__"):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as err:
            missing.add(err.name)
assert missing <= {"brainmarks", "combatlearn", "anndata", "umap", "peft", "submitit", "huggingface_hub"}, missing
import torch.multiprocessing, torch.optim, torch.utils.data, pyarrow.parquet, pyarrow.dataset, sklearn.linear_model, scipy.signal, pandas
print(len(names), "modules")'
expect 0 "licences; packages that bring no file of theirs" inside awk -F'\t' 'NR > 1 && $4 == 0 {print $1 ", " $3}' \
    /opt/semantoks/licences/python/packages.tsv
sed 's/^/        /' "$scratch/log"
inside cat /opt/semantoks/licences/python/packages.tsv >"$scratch/packages.tsv"
inside cat /opt/semantoks/sbom.cdx.json >"$scratch/sbom.json"
python3 - "$scratch/packages.tsv" "$scratch/sbom.json" "$(inside cat /version)" <<'THERE' || fail "the SBOM, the licences and the packages differ"
import json, sys
rows = [line.split("\t") for line in open(sys.argv[1]).read().splitlines()[1:]]
bill = json.load(open(sys.argv[2]))
about = bill["metadata"]["component"]
assert bill["bomFormat"] == "CycloneDX" and (about["name"], about.get("version")) == ("semantoks", sys.argv[3]), about
known = {(c["name"].lower().replace("_", "-"), c["version"]) for c in bill["components"]}
assert {(r[0].lower().replace("_", "-"), r[1]) for r in rows} <= known, sorted(known)
assert len(rows) > 40 and {"torch", "numpy"} <= {r[0] for r in rows}
THERE
say "ok: the SBOM names semantoks with its version, and every package"

# ---- doors -----------------------------------------------------------------------------------------

expect 0 "--version" docker run "${strict[@]}" $image --version
says '^semantoks [0-9]'
version=$(cat "$scratch/log")
expect 0 "--help" docker run "${strict[@]}" $image --help
says 'Exit codes'
for command in assets demo series blocks importance slurm todo; do
    expect 0 "$command --help" docker run "${strict[@]}" $image $command --help
done
expect 0 "semantoks-model --help" docker run "${strict[@]}" --entrypoint semantoks-model $image --help
# As Boutiques and Nipoppy call it.
expect 0 "both commands in a login shell" docker run "${strict[@]}" --entrypoint sh $image -lc 'semantoks --version && semantoks-model --help'
expect 0 "/version, and nothing of the build machine" docker run "${strict[@]}" --entrypoint sh $image -c \
    'echo "semantoks $(cat /version)"; test ! -e /etc/pip.conf && test ! -e /src && test ! -e /root/.cache'
says "^$version\$"
expect 0 "any user id can read all of /opt" docker run "${strict[@]}" --entrypoint sh $image -c \
    'test -z "$(find /opt ! -readable -print -quit)"'

# ---- the demo, then its derivative as a user's data ------------------------------------------------

new_folder "$scratch/demo"
expect 0 "demo" docker run "${strict[@]}" -v "$scratch/demo:/out" $image demo /out
grep -A 7 '^Extracted series' "$scratch/log"
demo=$scratch/demo
fingerprint "$demo" >"$scratch/demo.before"

new_folder "$scratch/out"
app=(docker run "${strict[@]}" -v "$demo/fmriprep:/bids:ro" -v "$demo/atlas:/atlas:ro" -v "$scratch/out:/out")
participant=(/bids /out participant --atlas /atlas)
expect 0 "participant" "${app[@]}" $image "${participant[@]}"
expect 0 "group" "${app[@]}" $image /bids /out group
fingerprint "$scratch/out/sub-01" >"$scratch/sub-01.before"
contents "$scratch/out" >"$scratch/out.before"
expect 0 "participant again" "${app[@]}" $image "${participant[@]}"
expect 0 "group again" "${app[@]}" $image /bids /out group
unchanged "$scratch/out/sub-01" "$scratch/sub-01.before" "the second run touched no scan"
contents "$scratch/out" | diff "$scratch/out.before" - || fail "the second run wrote other bytes"
[ -z "$(find "$scratch/out" "$demo" ! -user "$user" -print -quit)" ] || fail "files of another owner than $user in the output"
say "ok: every file belongs to $user"

new_folder "$scratch/bare"
bare=("${strict[@]}")
if docker run --help | grep -q -- --unsetenv; then bare+=(--unsetenv HOME); else bare+=(--env HOME=); fi
expect 0 "participant without HOME" docker run "${bare[@]}" -v "$demo/fmriprep:/bids:ro" -v "$demo/atlas:/atlas:ro" \
    -v "$scratch/bare:/out" $image "${participant[@]}" --participant-label 01

# ---- how long a scan takes, inside and outside -----------------------------------------------------

lasts() { # lasts NAME COMMAND...: milliseconds on the clock and of the processors, a line in NAME.ms
    local name=$1
    shift
    bash -c 'TIMEFORMAT="%3R %3U %3S"; time "$@" >"$0" 2>&1 </dev/null' "$scratch/log" "$@" 2>"$scratch/times" || { cat "$scratch/log"; exit 1; }
    awk '{printf "%d %d\n", 1000 * $1, 1000 * ($2 + $3)}' "$scratch/times" >>"$scratch/$name.ms"
}
fastest() { cut -d' ' -f"$2" "$scratch/$1.ms" | sort -n | head -1; } # fastest NAME 1|2
outside=$(PATH=$PATH:$root/.venv/bin command -v semantoks || true)
if [ -n "$outside" ]; then
    scan=(participant --participant-label 01 --n-cpus 1 --no-reports)
    for round in 1 2 3 4 5; do
        new_folder "$scratch/round$round"
        lasts outside env OMP_NUM_THREADS=1 "$outside" "$demo/fmriprep" "$scratch/round$round/host" "${scan[@]}" --atlas "$demo/atlas"
        # Timed inside, where its processors' time can be seen; how long the engine takes is another line.
        docker run "${strict[@]}" -v "$demo/fmriprep:/bids:ro" -v "$demo/atlas:/atlas:ro" -v "$scratch/round$round:/out" --entrypoint bash $image \
            -c 'TIMEFORMAT="%3R %3U %3S"; time python3 /opt/semantoks/entrypoint.py "$@" >/tmp/log 2>&1' - /bids /out/image "${scan[@]}" --atlas /atlas \
            2>&1 </dev/null | awk '{printf "%d %d\n", 1000 * $1, 1000 * ($2 + $3)}' >>"$scratch/inside.ms"
        lasts engine docker run "${strict[@]}" --entrypoint true $image
    done
    # The fastest of five: whatever else the machine does only adds to it, and less to the processors' time.
    out=$(fastest outside 2) in=$(fastest inside 2)
    say "two scans, fastest of five, on the clock: $(fastest outside 1) ms outside, $(fastest inside 1) ms inside, and $(fastest engine 1) ms to start a container"
    say "the processors' time of them: $out ms outside, $in ms inside, ratio $((in * 100 / out)) %"
    [ $((in - out)) -le 500 ] || fail "scans inside take over 0.5 s more than outside"
else
    leaves_out "times outside: no semantoks on the PATH or in .venv"
fi

# ---- faults ----------------------------------------------------------------------------------------

new_folder "$scratch/empty"
expect 16 "an input that is no derivative" docker run "${strict[@]}" -v "$scratch/empty:/bids:ro" -v "$scratch/bare:/out" $image "${participant[@]:0:3}"
expect 17 "an unknown level" "${app[@]}" $image /bids /out session
expect 73 "an output that cannot be written" docker run "${strict[@]}" -v "$demo/fmriprep:/bids:ro" -v "$demo/atlas:/atlas:ro" \
    -v "$scratch/empty:/out:ro" $image "${participant[@]}"

# Python is process 1 there and gets the signal itself.
new_folder "$scratch/stopped"
docker run --name "$image-$$" "${strict[@]}" -v "$demo/fmriprep:/bids:ro" -v "$demo/atlas:/atlas:ro" -v "$scratch/stopped:/out" \
    $image "${participant[@]}" >"$scratch/log" 2>&1 &
running=$!
until [ -n "$(find "$scratch/stopped" -name '*_status.json')" ] || ! kill -0 $running; do sleep 0.2; done
docker kill --signal TERM "$image-$$" >/dev/null || true
expect 143 "SIGTERM in the middle" wait $running
[ -z "$(find "$scratch/stopped" -name '*.part')" ] || fail "SIGTERM left partial files"

# ---- an atlas in the image, as docs/containers.md says, then README's line as it stands ------------

new_folder "$scratch/readme"
sed -n "/^FROM semantoks/,/^END/p" "$tree/docs/containers.md" | sed -e "s/^FROM .*/FROM $image/" -e '/^END/d' >"$scratch/Atlas"
expect 0 "docs: an image with an atlas of one's own" docker build -t "$image-atlas" -f "$scratch/Atlas" "$demo"
expect 0 "README: docker run" bash -c "$(readme_line 'docker run' "$image-atlas")"

# ---- the atlas and the paper's weights by build argument, from servers on the loopback ------------

sources=${SEMANTOKS_ATLAS_SOURCES:-$root/../shared/data/atlases}
more=()
if [ -d "$sources" ]; then
    mkdir "$scratch/mirror"
    inside semantoks assets list --addresses | while read -r address; do
        name=${address##*/}
        found=$(find -L "$sources" \( -name "$name" -o -name "${name%.gz}" -o -name "$name.gz" \) -print -quit)
        [ -z "$found" ] || cp "$found" "$scratch/mirror/$name"
    done
    python3 -u -m http.server --bind 127.0.0.1 --directory "$scratch/mirror" 0 >"$scratch/mirror.log" 2>&1 &
    servers+=($!)
    until grep -q 'port [0-9]' "$scratch/mirror.log"; do sleep 0.1; done
    port=$(grep -om1 'port [0-9]*' "$scratch/mirror.log" | cut -d' ' -f2)
    more=(--build-arg "ATLAS=http://127.0.0.1:$port" --build-arg "ATLAS_OPTIONS=--without-templateflow --for-space MNI152NLin6Asym")
else
    leaves_out "the atlas by build argument: no sources in $sources"
fi
docker run "${strict[@]}" -v "$root/tests/golden/reference_model:/in:ro" --entrypoint python3 $image -c '
import sys, torch
content = torch.load("/in/small_ckpt.pth", weights_only=True)
torch.save(content | {"config": {"model": {"num_heads": 4}}}, sys.stdout.buffer)' >"$scratch/weights.pth"
python3 -u - "$root/tests/support" "$scratch/weights.pth" >"$scratch/hub.log" 2>&1 <<'THERE' &
import pathlib, sys, time
sys.path.insert(0, sys.argv[1])
import hub_server
hub = hub_server.Hub(files={"some_name.pth": pathlib.Path(sys.argv[2]).read_bytes()}, licence="cc-by-nc-4.0")
for running in hub_server.serve(hub):
    print(running.address)
    time.sleep(3600)
THERE
servers+=($!)
until grep -q '^http' "$scratch/hub.log"; do sleep 0.1; done
hub=$(cat "$scratch/hub.log")
assets=(docker build --network host -t "$image-assets" --build-arg VERSION=1.2.3 --build-arg REVISION=0123abc "${more[@]}")
assets+=(--build-arg CHECKPOINT=published --build-arg "CHECKPOINT_FROM=$hub")
expect 1 "weights without consent" sh -c '"$@" >"$0" 2>&1 && exit 0; exit 1' "$scratch/refused" "${assets[@]}" .
grep -q -- --accept-licence "$scratch/refused" || { tail -20 "$scratch/refused"; fail "the refusal does not name --accept-licence"; }
builds "atlas and weights from a mirror, labels" "${assets[@]}" --build-arg ACCEPT_LICENCE=yes .
expect 0 "they are what their hashes say" docker run "${strict[@]}" $image-assets assets verify
says 'checkpoint published'
[ ${#more[@]} = 0 ] || says 'MNI152NLin6Asym 2 mm: 457 parcels'
expect 0 "their terms are with the licences" docker run "${strict[@]}" --entrypoint sh $image-assets -c 'cat /opt/semantoks/licences/*.txt'
says 'licence   cc-by-nc-4.0'
[ ${#more[@]} = 0 ] || says 'Melbourne Subcortex Atlas License'
expect 0 "nothing of the hub's client is inside" docker run "${strict[@]}" --entrypoint sh $image-assets -c \
    'test ! -e /opt/tools && ! python3 -c "import huggingface_hub" 2>/dev/null'
expect 0 "labels" docker image inspect --format '{{json .Config.Labels}}' $image-assets
says '"org.opencontainers.image.version":"1.2.3"'
says '"org.opencontainers.image.revision":"0123abc"'

unchanged "$demo" "$scratch/demo.before" "the input is as it was"
[ $skipped = 0 ] || skip "$skipped of the parts, named above; all others passed"
say "all passed"
