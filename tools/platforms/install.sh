#!/usr/bin/env bash
# Build the sdist and the wheel from what git holds, and install them as users do, each in an environment of its own:
#     bash tools/platforms/install.sh [PYTHON]        PYTHON: 3.11 or newer, default python3
# The sdist alone makes the wheel, twice the same bytes; the wheel holds the packages and their data and nothing else; pip, uv and
# `pip install git+…` (this checkout's HEAD) install it; `semantoks demo` runs where no checkout is. Needs git, GNU tar and a
# package index. Five minutes, 4 GB of disk at a time with the CPU build of torch.
# TORCH_INDEX: an index of torch's, where the package index has no CPU build.
. "$(dirname "$0")/_common.sh"
find_python "${1:-python3}"
needs git tar
tar --version | grep -q GNU || skip "tar is not GNU's"
commit=$(git -C "$root" rev-parse --verify --quiet HEAD) || skip "not a git checkout"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || skip "$("$python" --version) is older than 3.11"
export PIP_DISABLE_PIP_VERSION_CHECK=1 OMP_NUM_THREADS=1
unset PYTHONPATH
index=()
[ -z "${TORCH_INDEX:-}" ] || index=(--extra-index-url "$TORCH_INDEX")
cd "$scratch"

environment() { # environment NAME: a new one, in place of the last, whose 1.5 GB are given back
    rm -rf "$scratch"/env-*
    env=$scratch/env-$1
    "$python" -m venv "$env"
}
works() { # works LABEL: what is installed there has one version and embeds a simulated study
    expect 0 "$1: --version" "$env/bin/semantoks" --version
    says "^semantoks $version$"
    expect 0 "$1: semantoks demo" "$env/bin/semantoks" demo "$scratch/demo"
    [ "$(find "$scratch/demo/semantoks" -name '*desc-scan_embedding.tsv' | wc -l)" = 5 ] || fail "$1: not five scans"
    rm -rf "$scratch/demo"
}

# ---- build -----------------------------------------------------------------------------------------

for one in dist again; do expect 0 "sdist, and the wheel from it alone: $one" bash "$root/tools/dist.sh" "$python" "$one" "$commit"; done
diff -r dist again >"$scratch/log" || { cat "$scratch/log"; fail "the second build has other bytes"; }
say "ok: the second build is the first, byte for byte"
environment build
expect 0 "pip install twine" "$env/bin/python" -m pip install --quiet twine
wheel=$(echo dist/*.whl) sdist=$(echo dist/*.tar.gz)
version=${sdist#dist/semantoks-} version=${version%.tar.gz}
expect 0 "metadata" "$env/bin/twine" check --strict "$wheel" "$sdist"
"$python" -m zipfile -l "$wheel" | awk 'NR > 1 {print $1}' | grep -v '\.dist-info/' | sort >inside
git -C "$root" ls-tree -r --name-only "$commit" bids_app model semantoks brainmarks | sort >tracked
diff tracked inside >"$scratch/log" || { cat "$scratch/log"; fail "the wheel holds other files than the packages have"; }
say "ok: $(wc -l <inside) files in the wheel, those of the packages, $(du -m "$wheel" | cut -f1) MB"
unzipped=$("$python" -c 'import sys, zipfile; z = zipfile.ZipFile(sys.argv[1])
print(z.read(next(n for n in z.namelist() if n.endswith("/METADATA"))).decode())' "$wheel")
grep -q "^Classifier: Private :: Do Not Upload" <<<"$unzipped" || fail "an index would take it: docs/decisions/0001-package-names.md"

# ---- install ---------------------------------------------------------------------------------------

environment pip
expect 0 "pip install WHEEL" "$env/bin/python" -m pip install --quiet "${index[@]}" -c "$root/constraints.txt" "$wheel"
expect 0 "pip check" "$env/bin/python" -m pip check
works pip

environment uv
expect 0 "pip install uv" "$env/bin/python" -m pip install --quiet uv
# uv reads no configuration of pip's: this machine's folder of wheels is told to it.
export UV_FIND_LINKS="${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}}"
expect 0 "uv pip install WHEEL" "$env/bin/uv" pip install --quiet --python "$env/bin/python" --compile-bytecode \
    "${index[@]}" -c "$root/constraints.txt" "$wheel"
works uv

environment git
url=git+file://$(git -C "$root" rev-parse --path-format=absolute --git-common-dir)@$commit
expect 0 "pip install $url" "$env/bin/python" -m pip install --quiet "${index[@]}" -c "$root/constraints.txt" "$url"
works git
say "passed: semantoks $version on $("$python" --version)"
