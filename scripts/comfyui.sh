#!/usr/bin/env bash
# Starts a ComfyUI with this pack in it, and gets and sets up what is missing for that.
#   COMFYUI_PATH  where it is, or shall be: ~/comfy/ComfyUI if not set, the first one if several
#   COMFYUI_REPO  what to clone where none is, an address or a folder
#   COMFYUI_ARGS  more options for its main.py
#   PYTHON        what its .venv is made with, where it has none
set -euo pipefail

pack=$(cd "$(dirname "$0")/.." && pwd)
host=${COMFYUI_PATH:-$HOME/comfy/ComfyUI}
host=${host%%:*}
repo=${COMFYUI_REPO:-https://github.com/comfyanonymous/ComfyUI}
base=${PYTHON:-python3}

stop() {
    echo "$*" >&2
    exit 1
}

get() {
    command -v git > /dev/null ||
        stop "git is needed to get ComfyUI; install it, or set COMFYUI_PATH to a ComfyUI that you have."
    git clone --depth 1 "$repo" "$host" ||
        stop "ComfyUI could not be cloned from $repo to $host (git says why above); set COMFYUI_REPO" \
            "to a source within reach, or COMFYUI_PATH to a ComfyUI that you have."
}

# While .unfinished is there, the .venv is ours and not ready; one without it is left as it is.
set_up() {
    command -v "$base" > /dev/null ||
        stop "There is no $base to make the .venv of ComfyUI with; set PYTHON to a Python 3.10 or newer."
    mkdir -p "$host/.venv"
    touch "$host/.venv/.unfinished"
    "$base" -m venv "$host/.venv" ||
        stop "$base could not make $host/.venv (it says why above); set PYTHON to another Python."
    "$python" -m pip install --disable-pip-version-check -r "$host/requirements.txt" requests pytest ||
        stop "The requirements of ComfyUI could not be installed (pip says why above); run this again" \
            "to go on."
    rm "$host/.venv/.unfinished"
}

link() {
    mkdir -p "$host/custom_nodes"
    for folder in "$host"/custom_nodes/*; do
        if [ "$folder" -ef "$pack" ]; then return; fi
    done
    [ -e "$host/custom_nodes/ilvr" ] || ln -sfn "$pack" "$host/custom_nodes/ilvr"
}

device='import torch
gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
print("" if gpu else "--cpu")'

[ -e "$host/main.py" ] || get
host=$(cd "$host" && pwd)
python=$host/.venv/bin/python
if [ ! -e "$python" ] || [ -e "$host/.venv/.unfinished" ]; then set_up; fi
link
cpu=$("$python" -c "$device") ||
    stop "The .venv of $host has no torch that works; install ComfyUI's requirements in it."
cd "$host"
# shellcheck disable=SC2086  # options are words
exec "$python" main.py $cpu ${COMFYUI_ARGS:-}
