#!/usr/bin/env bash
# Build the wheel, install it into an empty environment, and do a run with it away from the source tree.
#   tests/wheel.sh PYTHON     PYTHON has `build`; TORCH holds words for pip that are installed before the wheel, or nothing
set -euo pipefail
python="$(cd "$(dirname "$1")" && pwd)/$(basename "$1")"
cd "$(dirname "$0")/.."

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/source" "$folder/elsewhere"
cp -R pyproject.toml README.md LICENSE tailwise "$folder/source" # a build writes beside its sources

"$python" -m build --wheel --outdir "$folder/dist" "$folder/source"
wheel="$(echo "$folder"/dist/*.whl)"
"$python" - "$wheel" <<'PYTHON'
import sys
from pathlib import Path
from zipfile import ZipFile

inside = set(ZipFile(sys.argv[1]).namelist())
wanted = [path for path in Path("tailwise").rglob("*") if path.suffix in (".py", ".yaml", ".typed")]
missing = [str(path) for path in wanted if path.as_posix() not in inside]
foreign = [name for name in inside if not name.startswith(("tailwise/", "tailwise-"))]
if missing or foreign or len(wanted) < 50:
    sys.exit(f"wheel: missing {missing}, foreign {foreign}")
PYTHON

"$python" -m venv "$folder/empty"
cd "$folder/elsewhere"
# shellcheck disable=SC2086  # TORCH is several words
[ -z "${TORCH:-}" ] || ../empty/bin/python -m pip install --quiet $TORCH
../empty/bin/python -m pip install --quiet "$wheel"
../empty/bin/tailwise fit digits --imbalance-factor 50 --epochs 2 --out run
../empty/bin/tailwise recipes >recipes.txt
grep -q '^digits_lt/gml ' recipes.txt
test -s run/result.json
../empty/bin/python -c 'import pathlib, tailwise; here = pathlib.Path(tailwise.__file__).parent; assert (here / "py.typed").is_file()'
echo "wheel: $(basename "$wheel") installs and runs"
