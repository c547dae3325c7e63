#!/bin/sh
# Builds the wheel and the source archive into dist/, checks them, and samples with the wheel alone
# in an empty environment. PYTHON has build and twine; PIP_EXTRA_INDEX_URL may name a small torch.
set -e
PYTHON=${PYTHON:-python3}
rm -rf dist build
"$PYTHON" -m build
"$PYTHON" -m twine check --strict dist/*

empty=$(mktemp -d)
trap 'rm -rf "$empty"' EXIT
"$PYTHON" -m venv "$empty/venv"
"$empty/venv/bin/python" -m pip install --quiet --disable-pip-version-check dist/*.whl
cd "$empty"
references=$(venv/bin/python -c "import ilvr, pathlib; print(pathlib.Path(ilvr.__file__).parent / 'assets/references')")
venv/bin/python -m ilvr sample "$references/clip-art.png" --steps 4 --count 1 --out pictures
venv/bin/python -m ilvr inspect "$references/../landscapes-64.safetensors"
test -s pictures/sheet.png
