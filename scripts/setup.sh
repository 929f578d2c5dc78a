#!/bin/sh
# Make .venv with the package in it, and see to the one library that pip cannot bring: libfluidsynth.
set -eu
cd "$(dirname "$0")/.."

say() { printf '%s\n' "setup: $*"; }
stop() { printf '%s\n' "setup: $*" >&2; exit 1; }

usable() { "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }

as_root() {  # root, or sudo that asks nothing; otherwise fail
    if [ "$(id -u)" = 0 ]; then "$@"; elif sudo -n true 2>/dev/null; then sudo "$@"; else return 1; fi
}

apt_install() {
    command -v apt-get >/dev/null 2>&1 || return 1
    as_root true 2>/dev/null || return 1
    say "installing $* with apt-get"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null 2>&1 && return 0
    as_root apt-get update -qq >/dev/null 2>&1 || true
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null
}

if [ "${1:-}" = browser ]; then  # for developers: the test of the studio needs one, and is skipped without it
    { command -v chromium || command -v google-chrome; } >/dev/null 2>&1 && command -v chromedriver >/dev/null 2>&1 && exit 0
    apt_install chromium chromium-driver || say "Chromium could not be installed with apt-get from here; the test of the studio in a browser will be skipped"
    exit 0
fi

python=""
for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10}; do
    if usable "$candidate"; then python=$candidate; break; fi
done
[ -n "$python" ] || stop "found no Python 3.10 to 3.13 (tried: ${PYTHON:-python3, python3.13, python3.12, python3.11, python3.10}). Install one, or name it: make demo PYTHON=/path/to/python3.12"

if [ -x .venv/bin/python ] && ! usable .venv/bin/python; then
    stop ".venv holds $(.venv/bin/python --version 2>&1 || echo 'a broken Python'), and Python 3.10 to 3.13 is needed. Run 'make clean' and try again."
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    apt_install python3-venv || stop "$python cannot make virtual environments. Install the package python3-venv (apt-get install python3-venv) and try again."
fi
if [ ! -x .venv/bin/pip ]; then
    say "making .venv with $("$python" --version)"
    "$python" -m venv .venv
fi

found_fluidsynth() { .venv/bin/python -c 'import sys, ctypes.util as u; sys.exit(not any(map(u.find_library, ("fluidsynth", "fluidsynth-3", "libfluidsynth-3"))))'; }
if ! found_fluidsynth; then
    apt_install libfluidsynth3 || stop "FluidSynth's library is missing and could not be installed from here. Install the package libfluidsynth3 (apt-get install libfluidsynth3; on macOS: brew install fluid-synth) and try again."
    found_fluidsynth || stop "libfluidsynth3 was installed, but Python does not find it. Check that 'ldconfig -p | grep fluidsynth' prints a line."
fi

say "installing the package and what it needs into .venv (about 5 GB; some minutes)"
.venv/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
touch .venv/.installed
