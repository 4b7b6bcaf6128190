#!/usr/bin/env bash
# The bill of materials (CycloneDX) of an environment in which semantoks is installed; the image has its own, made alike:
#     bash tools/sbom.sh PYTHON OUT.cdx.json
# Every package with version, licence and where it comes from; the same environment gives the same bytes. A minute.
set -euo pipefail
[ $# = 2 ] || { sed -n '2,4p' "$0"; exit 2; }
root=$(cd "$(dirname "$0")/.." && pwd)
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
"$1" -m venv "$tools"
"$tools/bin/python" -m pip install --quiet --require-hashes --no-deps -r "$root/tools/image/build.lock"
# cyclonedx reads no dynamic version: the one that is installed there is written in its place.
version=$("$1" -c 'from importlib.metadata import version; print(version("semantoks"))')
sed "s/^dynamic = \[\"version\"\]$/version = \"$version\"/" "$root/pyproject.toml" >"$tools/pyproject.toml"
"$tools/bin/cyclonedx-py" environment --output-reproducible --pyproject "$tools/pyproject.toml" --mc-type application \
    --output-file "$2" "$1"
"$1" - "$2" <<'THERE'
import json
import sys
from importlib.metadata import distributions, version

with open(sys.argv[1]) as file:
    bill = json.load(file)
named = {part["name"].lower().replace("_", "-") for part in bill["components"]}
here = {d.metadata["Name"].lower().replace("_", "-") for d in distributions()} - {"semantoks"}
assert bill["bomFormat"] == "CycloneDX"
about = bill["metadata"]["component"]
assert about.get("version") == version("semantoks"), about
assert here <= named, f"not in the bill: {sorted(here - named)}"
print(f"{sys.argv[1]}: semantoks {about['version']}, {len(named)} packages")
THERE
