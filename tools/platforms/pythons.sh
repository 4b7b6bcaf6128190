#!/usr/bin/env bash
# Install the wheel beside the lowest and the newest dependencies that pyproject.toml allows, under each Python, and test it there:
#     bash tools/platforms/pythons.sh [PYTHON[:lowest|:pinned|:newest]]...      default: 3.11:lowest 3.11:newest 3.12:pinned 3.13:pinned
# `semantoks demo` and the unit tests run against what is installed, no source in sight; with `lowest` tests/end_to_end too.
# One environment at a time. Needs git, the Pythons (uv finds or fetches 3.12; a path does too) and a package index; five minutes each,
# `lowest` fifteen. Where the index has no CPU build of torch each takes 7 GB of disk; TORCH_INDEX names one that has (`lowest` takes
# them in any case: 2.8.0 is lower than 2.8.0+cpu).
. "$(dirname "$0")/_common.sh"
needs git
git -C "$root" rev-parse --verify --quiet HEAD >/dev/null || skip "not a git checkout"
if [ $# = 0 ]; then set -- 3.11:lowest 3.11:newest 3.12:pinned 3.13:pinned; fi
export OMP_NUM_THREADS=1 UV_FIND_LINKS="${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}}" UV_HTTP_TIMEOUT=600
export UV_CACHE_DIR="$scratch/cache" UV_LINK_MODE=hardlink
unset PYTHONPATH
index=()
[ -z "${TORCH_INDEX:-}" ] || index=(--extra-index-url "$TORCH_INDEX" --index-strategy unsafe-best-match)
cd "$scratch"
python3 -m venv tools
tools/bin/python -m pip install --quiet uv || skip "uv cannot be installed"
uv=$scratch/tools/bin/uv

# The tests and what they read, without the packages: what they import is what is installed.
mkdir tree && git -C "$root" archive HEAD | tar -x -C tree
expect 0 "wheel" "$uv" build --quiet --wheel --out-dir "$scratch/dist" tree
wheel=$(echo "$PWD"/dist/*.whl)
rm -r tree/{bids_app,model,semantoks,brainmarks,build,*.egg-info}

for what in "$@"; do
    version=${what%%:*} set=pinned
    case $what in *:*) set=${what#*:} ;; esac
    rm -rf env cache demo
    "$uv" venv --quiet --python "$version" env 2>"$scratch/log" || skip "no Python $version: $(tail -n 1 "$scratch/log")"
    case $set in
        lowest)
            # With the extras that the tests need; `test` itself is tools, which no user has.
            expect 0 "$what: what the lowest are" "$uv" pip compile --quiet --python env/bin/python "${index[@]}" \
                --resolution lowest-direct --extra anndata --extra harmonize --extra hub --extra lora --extra umap \
                -o lowest.txt "$root/pyproject.toml"
            how=(-c lowest.txt)
            ;;
        pinned) how=(-c "$root/constraints.txt") ;;
        newest) how=() ;;
        *) fail "expected lowest, pinned or newest, found $set" ;;
    esac
    expect 0 "$what: install" "$uv" pip install --quiet --python env/bin/python --compile-bytecode "${index[@]}" \
        "${how[@]}" "${wheel}[test]"
    "$uv" pip freeze --quiet --python env/bin/python | grep -E '^(torch|numpy|scipy|pandas|scikit-learn|nilearn|nibabel|pyarrow|matplotlib|anndata|combatlearn|huggingface-hub|peft|umap-learn)==' | xargs
    expect 0 "$what: semantoks demo" env/bin/semantoks demo demo
    tests=(tests/unit)
    [ "$set" != lowest ] || tests+=(tests/end_to_end)
    expect 0 "$what: ${tests[*]}" env --chdir tree PATH="$PWD/env/bin:$PATH" "$PWD/env/bin/python" \
        -m pytest -q -n 2 --dist loadfile -p no:cacheprovider "${tests[@]}"
    tail -n 1 "$scratch/log"
done
say "passed: $*"
