#!/usr/bin/env bash
# The sdist and the wheel of a commit: the same commit gives the same bytes, whenever and wherever it is checked out:
#     bash tools/dist.sh PYTHON OUT [COMMIT]        COMMIT: default HEAD
# setuptools writes the hour of the build into an sdist, so it is packed anew with the commit's; the wheel is built from that.
# PYTHON is 3.11 or newer. Needs git, GNU tar and a package index. Half a minute.
set -euo pipefail
[ $# = 2 ] || [ $# = 3 ] || { sed -n '2,5p' "$0"; exit 2; }
root=$(cd "$(dirname "$0")/.." && pwd)
commit=${3:-HEAD}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
umask 022
SOURCE_DATE_EPOCH=$(git -C "$root" log -1 --format=%ct "$commit")
export SOURCE_DATE_EPOCH PIP_DISABLE_PIP_VERSION_CHECK=1 LC_ALL=C
unset PYTHONPATH
mkdir -p "$2" "$scratch/source"
git -C "$root" archive "$commit" | tar -x -C "$scratch/source"
# The setuptools that builds is named in the wheel.
export PIP_CONSTRAINT="$scratch/source/constraints.txt"
"$1" -m venv "$scratch/tools"
python=$scratch/tools/bin/python
"$python" -m pip install --quiet build
"$python" -m build --sdist --outdir "$scratch" "$scratch/source" >"$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
sdist=$(basename "$scratch"/*.tar.gz)
mkdir "$scratch/first" "$scratch/again"
tar -x -C "$scratch/first" -f "$scratch/$sdist"
tar -c -C "$scratch/first" --format=posix --pax-option=delete=atime,delete=ctime --sort=name --mtime="@$SOURCE_DATE_EPOCH" \
    --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX "${sdist%.tar.gz}" | gzip --no-name -9 >"$2/$sdist"
tar -x -C "$scratch/again" -f "$2/$sdist"
"$python" -m build --wheel --outdir "$2" "$scratch/again/${sdist%.tar.gz}" >"$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
(cd "$2" && sha256sum "$sdist" "${sdist%.tar.gz}"-*.whl)
