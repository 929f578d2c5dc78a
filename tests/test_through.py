"""Edits through the score: the lag at which a song repeats itself, what is copied, and filled holes."""
import numpy as np
import pytest
import torch

from msanii import Msanii
from msanii.pipeline import Settings, pretrained_vocoder
from msanii.pulse import RATE
from msanii.through import best_lag, echoed
from msanii.transcriber import KEYS, LOWEST, PLACES, ROWS, Transcriber
from msanii.unet import UNet


def song(period, frames, seed=0):
    "Keys struck (88, t) that come again after so many frames."
    one = (np.random.default_rng(seed).random((KEYS, period)) < 0.01).astype(np.float32)
    return np.tile(one, -(-frames // period))[:, :frames]


PLACED = [(200, 900, 1000), (150, 300, 700), (300, 40, 140), (210, 1500, 1690)]

@pytest.mark.parametrize("period, a, b", PLACED)
def test_lag(period, a, b):
    "A whole number of periods, wherever the hole lies; nothing comes out of the hole or from beyond."
    struck = song(period, 1700)
    struck[:, a:b] = 0
    lag, like = best_lag(struck, a, b)
    assert lag % period == 0 and like > 0.95
    assert 0 <= a - lag and b - lag <= 1700 and abs(lag) >= b - a


def test_no_lag():
    "Noise is like nothing, and a hole as long as half the song has no room for its source."
    noise = (np.random.default_rng(0).random((KEYS, 1700)) < 0.01).astype(np.float32)
    noise[:, 800:900] = 0
    assert best_lag(noise, 800, 900)[1] < 0.15
    assert best_lag(song(200, 1000), 200, 800) == (None, 0.0)


def test_echo():
    "Notes come from a whole lag away, and only into the spans."
    struck = song(200, 1700)
    key, frame = np.nonzero(struck)
    table = np.stack([frame / RATE, (frame + 5) / RATE, key + LOWEST, np.full(len(key), 80), 0 * key], 1)
    a, b = 900 / RATE, 1000 / RATE
    heard = table[(table[:, 0] < a - 0.01) | (table[:, 0] >= b - 0.01)]
    struck[:, 900:1000] = 0
    made, like = echoed(heard, struck, [(a, b)])
    order = lambda t: sorted(map(tuple, np.round(t, 3).tolist()))
    assert order(made) == order(table) and like > 0.95


@pytest.fixture(scope="module")
def model():
    "Untrained, but for the vocoder."
    torch.manual_seed(0)
    parts = dict(transcriber=Transcriber(width=16, blocks=1, kernel=3))
    return Msanii(UNet(width=16, levels=2), *pretrained_vocoder(), Settings(steps=2, iterations=2), **parts)


def test_a_hole_gets_the_notes_of_before(model, monkeypatch):
    "What repeats itself is copied, as loud as it is around; where nothing is heard there is no score."
    struck = torch.from_numpy(song(200, 1700))
    picture = torch.zeros(ROWS, 1700)
    picture[PLACES["struck"]] = struck
    picture[PLACES["sounding"]] = struck
    picture[PLACES["loudness"]] = 0.5
    monkeypatch.setattr(model, "hear", lambda waveform: picture.clone(), raising=False)
    span = (900 / RATE, 1000 / RATE)
    score = model.filled_score(torch.zeros(2, 1700 * 1024), [span])
    inside = [n for i in score.instruments for n in i.notes if span[0] - 0.01 <= n.start < span[1] - 0.01]
    assert len(inside) >= 0.9 * struck[:, 900:1000].sum() > 0
    assert {n.velocity for n in inside} == {n.velocity for i in score.instruments for n in i.notes}
    monkeypatch.setattr(model, "hear", lambda waveform: torch.zeros(ROWS, 1700))
    assert model.filled_score(torch.zeros(2, 1700 * 1024), [span]) is None
