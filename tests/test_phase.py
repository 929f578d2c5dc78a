"""What the notebook on phases leaves out: lengths, odd settings, levels, seeds, long signals, bad input."""
import math

import pytest
import torch
from hypothesis import given, settings, strategies as st

from msanii.audio import InputError
from msanii.mel import MelTransform, magnitude
from msanii.phase import TURN, griffin_lim, peaks, turn_on


def noise(*shape, seed=0, level=0.3):
    return level * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def seeded(*seeds):
    return [torch.Generator().manual_seed(s) for s in seeds]


@pytest.fixture(scope="module")
def transform():
    return MelTransform()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 20_000), st.integers(0, 3))
def test_every_length_goes_through_mel_and_back(n, n_iter):
    transform = MelTransform()
    x = noise(1, 2, n, seed=n)
    y = griffin_lim(transform.to_magnitude(transform(x)), n_iter=n_iter, length=n)
    assert y.shape == x.shape and y.isfinite().all()
    assert y.abs().max() < 10 * x.abs().max() + 1e-3  # no click, wherever between two frames the end lies


@pytest.mark.parametrize("n", [4096, 4097, 4608, 5119])
def test_the_end_is_as_loud_as_the_rest(n):
    x = noise(2, n)
    y = griffin_lim(magnitude(x), length=n, n_iter=100)
    assert y[:, -200:].abs().max() < 2 * x.abs().max()
    assert 0.4 < y[:, -200:].std() / x.std() < 1.6


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([64, 256, 1000, 2048]), st.sampled_from([2, 4, 8]), st.integers(1, 5000))
def test_other_grids(n_fft, overlap, n):
    n_fft -= n_fft % (2 * overlap)
    hop, x = n_fft // overlap, noise(n, seed=n)
    y = griffin_lim(magnitude(x, n_fft, hop), 2, n_fft=n_fft, hop=hop, length=n)
    assert y.shape == x.shape and y.isfinite().all()


@pytest.mark.parametrize("decibels", [-40, 40])
@pytest.mark.parametrize("channels", [1, 2])
def test_levels_come_back(transform, decibels, channels):
    gain, x = 10 ** (decibels / 20), noise(1, channels, 20_000)
    usual, other = (griffin_lim(transform.to_magnitude(transform(g * x)), n_iter=8) for g in (1, gain))
    level = 20 * math.log10(other.norm() / usual.norm())
    assert abs(level - decibels) < 0.1


def test_autocast_and_half_precision_change_nothing():
    mags = magnitude(noise(2, 2, 9000))
    wave = griffin_lim(mags, n_iter=3)
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype=dtype):
            now = griffin_lim(mags, n_iter=3)
        assert now.dtype == torch.float32 and torch.equal(now, wave)
        assert griffin_lim(mags.to(dtype), n_iter=1).dtype == torch.float32


def test_seeds():
    S = magnitude(noise(2, 2, 30_000))
    both = griffin_lim(S, 4, generator=seeded(3, 4))
    assert torch.equal(both, griffin_lim(S, 4, generator=seeded(3, 4)))
    assert torch.equal(both[1:], griffin_lim(S[1:], 4, generator=seeded(4)))
    assert torch.equal(both[0], griffin_lim(S[0], 4, generator=seeded(3)[0]))
    assert not torch.equal(both[:1], griffin_lim(S[:1], 4, generator=seeded(4)))
    assert torch.equal(griffin_lim(S, 4)[1:], griffin_lim(S[1:], 4, generator=seeded(0)))
    state = torch.get_rng_state()
    griffin_lim(S, 1)
    assert torch.equal(state, torch.get_rng_state())  # the global seed is nobody else's business


def test_the_magnitude_is_left_alone():
    S = magnitude(noise(2, 30_000))
    before = S.clone()
    griffin_lim(S, 2)
    assert torch.equal(S, before)


def test_long_signals_in_blocks_are_the_same_walk():
    # frames beyond the first block of 512 must join it without a seam
    x = 0.3 * torch.sin(2 * math.pi * 440 / 44_100 * torch.arange(700 * 1024).double()).float()
    y = griffin_lim(magnitude(x), n_iter=4)
    error = (magnitude(y) - magnitude(x)).norm(dim=0) / magnitude(x).norm(dim=0)
    assert error[505:520].max() < 2 * error[100:500].max()


def test_peaks_turn_on_and_back():
    steps, nearest, ahead = peaks(magnitude(noise(20_000)).T, 2048, 1024)
    assert steps.shape == nearest.shape == ahead.shape == (20, 1025)
    start = torch.randint(TURN, (2, 1025), generator=seeded(0)[0])
    later = turn_on(start, steps[3], steps[4], nearest[4], ahead[4])
    assert later.shape == start.shape and 0 <= later.min() <= later.max() < TURN
    top = torch.arange(1025)[(nearest[4] == torch.arange(1025)) & (nearest[3] == torch.arange(1025))]
    again = turn_on(later, -steps[4], -steps[3], nearest[3], ahead[3])
    gap = (again - start)[:, top] % TURN  # halves of odd sums are rounded down both ways
    assert torch.minimum(gap, TURN - gap).max() <= 1


def test_silence_and_one_sample(transform):
    for x in (torch.zeros(1, 2, 5000), torch.zeros(1, 1, 1)):
        mel = transform(x)
        assert griffin_lim(transform.to_magnitude(mel), length=x.shape[-1]).abs().max() < 1e-9
        assert torch.equal(griffin_lim(magnitude(x), length=x.shape[-1]), x)
    mixed = torch.cat([torch.zeros(1, 1, 9000), noise(1, 1, 9000)], 1)  # one silent channel
    y = griffin_lim(magnitude(mixed), length=9000)
    assert y[0, 0].abs().max() == 0 and y[0, 1].abs().max() > 0.1


@pytest.mark.parametrize("bad, kwargs", [
    (torch.full((1025, 4), math.nan), {}), (-torch.ones(1025, 4), {}), (torch.ones(1025, 4).cfloat(), {}),
    (torch.ones(1025), {}), (torch.ones(513, 4), {}), (torch.ones(1025, 4), dict(length=0)),
    (torch.ones(1025, 4), dict(length=4096)), (torch.ones(1025, 1), {}), (torch.ones(0, 2, 1025, 4), {}),
    (torch.ones(1025, 4), dict(momentum=1.)), (torch.ones(1025, 4), dict(n_iter=-1)),
    (torch.ones(2, 1, 1025, 4), dict(generator=[torch.Generator()])),
    (torch.ones(1025, 4), dict(hop=2048)), (torch.ones(1025, 4), dict(hop=1000))])
def test_bad_magnitudes(bad, kwargs):
    with pytest.raises(InputError): griffin_lim(bad, **kwargs)
