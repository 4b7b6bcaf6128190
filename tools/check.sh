#!/usr/bin/env bash
# Install everything the tests need into the active environment (or .venv) and run all checks.
#     bash tools/check.sh           everything: about sixteen minutes on two cores
#     bash tools/check.sh --fast    lint, types, contracts and unit tests, on what is installed: about 80 seconds
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${VIRTUAL_ENV:-}" ] && [ -d .venv ]; then . .venv/bin/activate; fi
fast=false
if [ "${1:-}" = --fast ]; then fast=true; fi
if $fast; then
    # An editable install runs the sources as they are, and is made once.
    python - 2>/dev/null <<-'THERE' || python -m pip install --quiet -c constraints.txt -e '.[test]'
		import json
		from importlib.metadata import distribution

		import pytest, xdist

		assert json.loads(distribution("semantoks").read_text("direct_url.json"))["dir_info"]["editable"]
		THERE
else
    python -m pip install --quiet -c constraints.txt '.[test,docs]'
    # For tests/browser, which say so where there is none.
    if ! command -v chromium >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        { apt-get update && DEBIAN_FRONTEND=noninteractive timeout 300 apt-get install -y --no-install-recommends chromium; } \
            >/dev/null 2>&1 || true
    fi
fi
ruff format --check .
ruff check .
codespell
# The package index has these for common machines only.
if command -v shellcheck >/dev/null; then shellcheck --severity=warning tools/*.sh tools/*/*.sh; fi
if command -v hadolint >/dev/null; then hadolint Dockerfile; fi
if command -v zizmor >/dev/null; then zizmor --offline --quiet .github/workflows; fi
if command -v check-jsonschema >/dev/null; then
    for file in github-workflows:.github/workflows/{container,python}.yml readthedocs:.readthedocs.yaml citation-file-format:CITATION.cff; do
        check-jsonschema --quiet --builtin-schema "vendor.${file%%:*}" "${file#*:}"
    done
fi
mypy
lint-imports
bosh validate descriptor.json
bosh validate --bids descriptor.json
if ! $fast; then bash tools/docs.sh; fi
if $fast; then
    python -m pytest -n 2 tests/unit
else
    python -m pytest -n 2 --dist loadfile
fi
