#!/usr/bin/env bash
# Install everything the tests need into the active environment and run all checks.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${VIRTUAL_ENV:-}" ] && [ -d .venv ]; then . .venv/bin/activate; fi
python -m pip install --quiet -c constraints.txt '.[test]'
ruff format --check .
ruff check .
codespell
mypy
lint-imports
bosh validate descriptor.json
bosh validate --bids descriptor.json
python -m pytest
