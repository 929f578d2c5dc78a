"""The script for a GPU, on the processor: every path of it, small."""
import os
import subprocess
from pathlib import Path

import pytest

from msanii.audio import InputError
from msanii.pipeline import read_config
from msanii.score import find_fluidsynth

ROOT = Path(__file__).parents[1]


def test_dry_run(tmp_path):
    "Corpora, steps, training by the clock, weights and the comparison, in half a minute."
    try: find_fluidsynth()
    except InputError as error: pytest.skip(str(error))
    script = ["sh", ROOT / "benchmarks" / "gpu.sh", "0.5", "--dry", "--data", "composed", "--songs", "2",
              "--out", tmp_path]
    done = subprocess.run(script, capture_output=True, text=True, timeout=600,
                          env={**os.environ, "PYTHONWARNINGS": "ignore"})
    assert done.returncode == 0, done.stdout + done.stderr
    for network in ("unet", "vocoder", "transcriber", "composer", "planner"):
        assert f"\n{network}: " in "\n" + done.stdout and f"| {network} |" in done.stdout
        assert (tmp_path / "model" / f"{network}.history.json").stat().st_size
    made = set(read_config(tmp_path / "model"))
    assert {"unet", "vocoder", "transcriber", "composer", "planner", "mel"} <= made
    assert "| shipped recipe | 4 | 2 |" in done.stdout and "dB above the difference" in done.stdout
