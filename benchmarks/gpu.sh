#!/bin/sh
# Everything that a GPU is wanted for, unattended: sh benchmarks/gpu.sh [MINUTES] [more options of gpu.py]
# Training steps measured, the shipped recipes trained until the minutes (25) are over, GPU beside CPU.
set -e
cd "$(dirname "$0")/.."
minutes=${1:-25}
[ $# -gt 0 ] && shift
python=python
[ -x .venv/bin/python ] && python=.venv/bin/python
# several programs share the processors: threads that wait must sleep
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
export GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-0}
mkdir -p runs
"$python" benchmarks/gpu.py --minutes "$minutes" "$@" | tee runs/gpu.log
