"""What 71_distances cannot hold: bad input, sets of any form, and embeddings by a stand-in library."""
import math
import sys
import types

import numpy as np
import pytest
import torch

from msanii.audio import SAMPLE_RATE, InputError
from msanii.distances import (bootstrap, clap_embedding, compare_sets, features, frechet_distance,
                              kernel_distance, standardise, vggish_embedding)

torch.set_num_threads(1)


def test_bad_waveforms():
    silent = torch.zeros(2, 132_300)
    for waveform, message in ((torch.randn(88_200), "channels, samples"),
                              (torch.randn(2, 1000), "2 s or more"), (silent, "silent"), (silent + math.nan,
                                  "NaN"),
                              (torch.randn(2, 2, 132_300), "one piece"), ("song.wav", "str")):
        with pytest.raises(InputError, match=message): features(waveform)


@pytest.mark.parametrize("distance", (frechet_distance, kernel_distance))
def test_distances(distance):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 4)), rng.normal(size=(25, 4)) + 1
    assert distance(x, x) == pytest.approx(0, abs=1e-9)
    assert distance(x, y) == pytest.approx(distance(y, x), rel=1e-6) and distance(x, y) > 0
    assert distance(list(x[:, None]), list(y[:, None])) == pytest.approx(distance(x, y))
    with pytest.raises(InputError, match="same ones"): distance(x, y[:, :3])
    with pytest.raises(InputError, match="two or more"): distance(x[:1], y)
    with pytest.raises(InputError, match="finite"): distance(x * math.nan, y)


def test_compare_sets():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 4)), rng.normal(size=(25, 4)) + 1
    with pytest.raises(InputError, match="frechet, kernel"): compare_sets(x, y, "euclid")
    assert compare_sets(x, y)["apart"] and compare_sets(x, y, seed=1) == compare_sets(x, y, seed=1)


def test_pairs():
    """Of paired sets the order counts; a shift of all pieces is found that strangers do not show; copies are
    not told apart, by rounding either."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=(12, 5))
    x = y + 0.5 + 0.05 * rng.normal(size=y.shape)
    for kind in ("frechet", "kernel"):
        assert compare_sets(x, y, kind, paired=True)["apart"] and not compare_sets(x, y, kind)["apart"]
        assert not compare_sets(y, y, kind, paired=True)["apart"]
        assert not compare_sets(y + 0.05 * rng.normal(size=y.shape), y, kind, paired=True)["apart"]
    in_turn, mixed = (compare_sets(z, y, "kernel", paired=True)["value"] for z in (x, x[::-1]))
    assert in_turn != pytest.approx(mixed)
    with pytest.raises(InputError, match="equally many"): compare_sets(x[:6], y, paired=True)


def test_features_that_never_vary():
    constant = standardise([np.zeros((1, 2))] * 3, [np.zeros((1, 2))] * 3)[0]
    assert np.isfinite(constant).all()


def test_bootstrap():
    assert bootstrap([2.0] * 5) == (2, 2, 2)
    assert bootstrap([1.0, math.nan, 3.0]).value == 2
    assert math.isnan(bootstrap([1.0]).low) and math.isnan(bootstrap([]).value)


def test_clap_by_a_stand_in(monkeypatch):
    seen = {}

    class Model:
        def eval(self): return self
        def get_audio_features(self, input_features): return input_features

    def processor(audio, sampling_rate, return_tensors):
        seen.update(rate=sampling_rate, lengths=[len(a) for a in audio])
        return {"input_features": torch.ones(len(audio), 4)}

    loads = lambda what: types.SimpleNamespace(from_pretrained=lambda source: what)
    stand_in = types.SimpleNamespace(ClapModel=loads(Model()), ClapProcessor=loads(processor))
    monkeypatch.setitem(sys.modules, "transformers", stand_in)
    waveform = 0.1 * torch.randn(2, 12 * SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
    assert clap_embedding("anything")(waveform).shape == (2, 4)
    assert seen == {"rate": 48_000, "lengths": [480_000, 96_000]}


def test_embeddings_that_cannot_be_had(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match="CLAP cannot be had"): clap_embedding()
    monkeypatch.setitem(sys.modules, "torchaudio.prototype.pipelines", None)
    with pytest.raises(InputError, match="VGGish cannot be had"): vggish_embedding()
