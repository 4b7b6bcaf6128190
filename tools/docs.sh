#!/usr/bin/env bash
# Build the documentation site into build/site, without a network; any warning is an error.
#     bash tools/docs.sh            runs `semantoks demo` first: its output is the example of the site
#     bash tools/docs.sh DEMO       takes what a `semantoks demo DEMO` has written
set -euo pipefail
demo=$(realpath -m "${1:-$(dirname "$0")/../build/docs-demo}")
cd "$(dirname "$0")/.."
if [ -z "${VIRTUAL_ENV:-}" ] && [ -d .venv ]; then . .venv/bin/activate; fi
if [ $# = 0 ]; then
    rm -rf "$demo" && mkdir -p build
    semantoks demo "$demo" >build/docs-demo.log 2>&1 || { cat build/docs-demo.log; exit 1; }
fi
rm -rf build/site
python -m sphinx -b html -W --keep-going -q -E -D semantoks_example="$demo" -d build/site-cache docs build/site
echo "build/site/index.html"
