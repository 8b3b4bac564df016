#!/usr/bin/env bash
# setuptools 84.2.1
#
# Guess:  a source distribution has the packages that `packages.find` names, pyproject.toml, the readme and the license; or all tests.
# Truth:  it also has the files tests/test*.py, and no other file of tests/: no conftest.py, no helpers, no fixtures, no folders.
# Matters: who runs the tests of a released method from its source distribution gets failures, or passes what is left, and takes
#         that for the authors' test suite. `prune tests` or `graft tests` in MANIFEST.in gives none or all.
# Output seen:
#   in the archive: method/__init__.py tests/test_score.py
#   left out:       tests/conftest.py tests/expected.json tests/methods/test_lora.py
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile setuptools==84.2.1
mkdir -p "$folder/project/method" "$folder/project/tests/methods"
cd "$folder/project"
cat > pyproject.toml <<'TOML'
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "method"
version = "1"
[tool.setuptools.packages.find]
include = ["method*"]
TOML
files="method/__init__.py tests/conftest.py tests/expected.json tests/methods/test_lora.py tests/test_score.py"
touch $files
"$folder/venv/bin/python" -c 'from setuptools import build_meta; build_meta.build_sdist("dist")' > log 2>&1 || { cat log >&2; exit 1; }
listed=$(tar -tf dist/method-1.tar.gz)
packed="" missing=""
for file in $files; do
    if grep -qx "method-1/$file" <<< "$listed"; then packed+="$file "; else missing+="$file "; fi
done
echo "in the archive: $packed"
echo "left out:       $missing"
if [[ "$packed|$missing" == "method/__init__.py tests/test_score.py |tests/conftest.py tests/expected.json tests/methods/test_lora.py " ]]; then
    echo "by guess: all tests or none; really: those of the top folder, without what they need"
else
    echo "by guess: all tests or none; really: something else (changed)"
    exit 1
fi
