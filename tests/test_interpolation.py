"""Interpolation: ends, noise, shapes, and what it refuses."""
import math

import pytest
import torch

from msanii.app import main
from msanii.audio import InputError, load_audio, save_audio
from msanii.interpolation import mix_noise


def tone(hertz, n, level=0.1):
    turns = hertz * torch.arange(n) / 44_100
    return level * torch.sin(2 * torch.pi * turns * torch.tensor([[1.0], [1.01]]))


@pytest.mark.parametrize("strength", [0, 0.3, 1])
def test_ends(model, strength):
    a, b = tone(220, 30_000), tone(330, 20_000)
    assert torch.equal(model.interpolate(a, b, 0, strength, seed=4, progress=False),
                       model.style_transfer(a, strength, seed=4, progress=False))
    assert torch.equal(model.interpolate(a, b, 1, strength, seed=4, progress=False),
                       model.style_transfer(b, strength, seed=4, progress=False))


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm"])
def test_ends_on_the_sphere(model, sampler):
    """The second noise comes from a stream of its own, so that ratio 0 has the chance of the first alone.
    At 1 the first song has no say."""
    a, b, how = tone(220, 30_000), tone(330, 20_000), dict(sampler=sampler, seed=4, progress=False)
    assert torch.equal(model.interpolate(a, b, 0, 0.6, "spherical", **how),
                       model.style_transfer(a, 0.6, **how))
    assert torch.equal(model.interpolate(a, b, 1, 0.6, "spherical", **how),
                       model.interpolate(-a[:, :9000], b, 1, 0.6, "spherical", **how))


def test_silence_behind_a_song_does_not_raise_its_level(model, monkeypatch):
    "What the network is given in the first second does not depend on how much longer the other song is."
    starts = []
    monkeypatch.setattr("msanii.walk.Walk.down", lambda self, x, ts, *args, **more: starts.append(x) or x)
    b = tone(330, 50_000, 0.03)
    for n in (50_000, 500_000): model.interpolate(torch.zeros(2, n), b, 0.5, 0.001, progress=False)
    first, second = starts
    assert (first[..., :30] - second[..., :30]).abs().mean() < 0.02


def test_spherical_noise_keeps_its_variance():
    a, b = torch.randn(2, 200_000, generator=torch.Generator().manual_seed(0))
    for r in (0, 0.25, 0.5, 0.75, 1):
        assert mix_noise(a, b, r, "spherical").var().item() == pytest.approx(1, abs=0.02)
        assert mix_noise(a, b, r, "linear").var().item() == pytest.approx((1 - r) ** 2 + r ** 2, abs=0.02)


def test_length_and_level_lie_between(model):
    a, b = tone(220, 40_000, 0.4), tone(330, 20_000, 0.02)
    rms = lambda w: w.square().mean().sqrt().item()
    made = model.interpolate(a, b[:1], 0.5, progress=False)
    assert made.shape == (2, 30_000)
    held = torch.cat([b[:1], torch.zeros(1, 10_000)], -1)
    assert rms(made) == pytest.approx(math.sqrt(rms(a[:, :30_000]) * rms(held)), rel=0.02)


def test_same_bits(model):
    a, b = tone(220, 9000), tone(330, 8000)
    made = [model.interpolate(a, b, 0.4, mix="spherical", seed=s, progress=False) for s in (0, 0, 1)]
    assert torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])
    how, pairs = dict(mix="spherical", progress=False), [torch.stack([w, w.flip(1)]) for w in (a, b)]
    both = model.interpolate(*pairs, 0.4, **how)
    assert torch.equal(both[0], made[0])
    assert torch.equal(both[1], model.interpolate(a.flip(1), b.flip(1), 0.4, seed=1, **how))


@pytest.mark.parametrize("wrong, words", [
    (dict(ratio=1.5), "ratio is 1.5"), (dict(strength=math.nan), "strength is nan"),
    (dict(mix="cubic"), "linear or spherical"), (dict(a=torch.full((2, 90), math.nan)), "NaN"),
    (dict(b=torch.zeros(2, 0)), "b has shape"), (dict(b=torch.zeros(1, 2, 90)), "two waveforms"),
    (dict(a=torch.zeros(3, 90)), "mono or stereo"), (dict(steps=0), "steps is 0")])
def test_refuses(model, wrong, words):
    with pytest.raises(InputError, match=words):
        model.interpolate(**{"a": torch.zeros(2, 90), "b": torch.zeros(2, 90), **wrong})


def test_command(model_folder, tmp_path, capsys):
    for name, hertz, n in (("a", 220, 20_000), ("b", 330, 10_000)):
        save_audio(tmp_path / f"{name}.wav", tone(hertz, n))
    a, b, out = (str(tmp_path / f"{name}.wav") for name in ("a", "b", "out"))
    out += ".wav"
    assert main(["interpolate", a, b, "--ratio", "0.25", "--out", out, "--weights", str(model_folder)]) == 0
    assert load_audio(out).shape == (2, 17_500)
    missing = str(tmp_path / "none.wav")
    assert main(["interpolate", a, missing, "--out", out, "--weights", str(model_folder)]) == 2
    assert "none.wav" in capsys.readouterr().err
