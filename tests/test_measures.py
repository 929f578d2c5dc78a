"""What 70_measures cannot hold: bad input, known tempi, keys and levels, seams; a light import."""
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import msanii.measures
from msanii.audio import SAMPLE_RATE, InputError
from msanii.measures import (analyse, continuity, edit_continuity, loudness, music, pulse, reconstruction,
                             score_agreement)
from msanii.score import song_by_rules, render_score

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def song():
    return render_score(song_by_rules(4, 14.0, tempo=112, key="G:maj"))[:, :13 * SAMPLE_RATE]


def noise(seconds=3.0):
    return 0.1 * torch.randn(2, round(seconds * SAMPLE_RATE), generator=torch.Generator().manual_seed(0))


LIGHT = """
import sys, msanii.measures, msanii.distances, msanii.report
heavy = ('librosa', 'auraloss', 'mir_eval', 'pyloudnorm', 'sklearn', 'transformers')
print([m for m in heavy if m in sys.modules])
"""


def test_import_is_light():
    "What judges music waits for no library that it does not use yet."
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"  # others may print before it


@pytest.mark.parametrize("name", ("measures", "distances", "report"))
def test_what_judges_knows_nothing_of_what_makes(name):
    source = (Path(msanii.measures.__file__).parent / f"{name}.py").read_text()
    assert not re.search(r"^\s*from \.(pipeline|sampling|app|tasks)\b", source, re.MULTILINE)


BAD = {"one axis": (torch.randn(88_200), "channels, samples"), "short": (torch.randn(2, 1000), "2 s or more"),
       "empty": (torch.zeros(2, 0), "shape"), "silent": (torch.zeros(2, 132_300), "silent"),
       "nan": (torch.full((2, 132_300), math.nan), "NaN"),
       "integers": (torch.ones(2, 132_300, dtype=torch.int16), "int16"),
       "batch of two": (torch.randn(2, 2, 132_300), "one piece"), "a path": ("song.wav", "str")}


@pytest.mark.parametrize("kind", BAD)
def test_bad_waveforms(kind):
    waveform, message = BAD[kind]
    with pytest.raises(InputError, match=message): music(waveform)
    with pytest.raises(InputError): continuity(waveform, 5)
    with pytest.raises(InputError): score_agreement(waveform, song_by_rules(0, 4.0))


def test_pairs_that_are_none():
    x = noise()
    for pred, message in ((x[:, :-1], "cut them"), (x[:1], "same channels"), (x[:, :100], "0.4 s"),
                          (x * math.nan, "NaN")):
        with pytest.raises(InputError, match=message): reconstruction(pred, x)
    with pytest.raises(InputError, match="target is silent"): reconstruction(x, 0 * x)
    silent = reconstruction(0 * x, x)  # a silent prediction is a bad one, no error
    assert silent["spectral_convergence"] == pytest.approx(1, abs=1e-3)


def test_mono_and_batch_of_one(song):
    part = song[:, :4 * SAMPLE_RATE]
    mono = part.mean(0, keepdim=True)
    assert music(mono)["tempo"] == pytest.approx(music(mono.expand(2, -1))["tempo"])
    assert reconstruction(mono[None], mono)["mel_error"] == 0
    assert music(part.double().numpy())["key_clarity"] == pytest.approx(music(part)["key_clarity"], abs=1e-4)


def sine(hertz, seconds):
    return torch.sin(2 * math.pi * hertz * torch.arange(seconds * SAMPLE_RATE) / SAMPLE_RATE)


def test_known_tempo_key_and_level(song):
    found = music(song)
    ratio = math.log2(found["tempo"] / 112)
    assert abs(ratio - round(ratio)) < 0.03
    assert analyse(sine(261.63, 3)[None]).chroma.mean(1).argmax() == 0
    quiet = 10 ** (-23 / 20) * sine(997, 5)  # EBU Tech 3341: stereo 1 kHz sine at -23 dBFS reads -23 LUFS
    assert loudness(quiet.expand(2, -1)) == pytest.approx(-23, abs=0.1)
    assert loudness(torch.zeros(2, SAMPLE_RATE)) == -70


def test_pulse_of_a_metronome():
    onset = np.zeros(600)
    for bpm in (60, 97.3, 150):
        onset[:] = 0
        onset[np.round(np.arange(0, 600, 60 * SAMPLE_RATE / 1024 / bpm)).astype(int)[:-1]] = 1
        tempo, clarity = pulse(np.convolve(onset, [0.5, 1, 0.5], "same"))
        ratio = math.log2(tempo / bpm)
        assert abs(ratio - round(ratio)) < 0.02 and clarity > 0.3
    assert pulse(np.random.default_rng(0).random(600))[1] < 0.25


def test_seams(song):
    mid = round(6.2 * SAMPLE_RATE)
    cut = torch.cat([song[:, :mid], 0.1 * song[:, mid:]], 1)
    assert continuity(cut, 6.2)["level_step"] == pytest.approx(20, abs=4)
    jump = song + 0.2 * (torch.arange(song.shape[1]) >= mid)
    assert continuity(jump, 6.2)["click"] > continuity(song, 6.2)["click"] + 6
    assert edit_continuity(cut, [(0.0, 6.2)]) == continuity(cut, 6.2)
    for at in (1.0, 12.5, -1, math.nan):
        with pytest.raises(InputError, match="3 s"): continuity(song, at)
    with pytest.raises(InputError, match="no seam"): edit_continuity(song, [(0, 13)])


def test_seam_beside_silence(song):
    "Silence keeps no time and no harmony, neither well nor badly."
    mid = round(6.2 * SAMPLE_RATE)
    found = continuity(torch.cat([song[:, :mid], torch.zeros_like(song[:, mid:])], 1), 6.2)
    unknown = {m for m, value in found.items() if math.isnan(value)}
    assert unknown == {"spectrum_step", "harmony_step", "tempo_step", "beat_shift"}
