"""What the notebook on mel spectrograms has no room for: many lengths, odd settings, 16-bit modules, bad input."""
import math

import pytest
import torch
from hypothesis import given, settings, strategies as st

from msanii.audio import InputError
from msanii.mel import MelTransform, MinMaxScaler, StandardScaler, griffin_lim, istft, magnitude, mel_filters, stft

lengths = st.integers(1, 20_000)


def noise(*shape, seed=0, level=0.3):
    return level * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def transform():
    return MelTransform()


@settings(max_examples=60, deadline=None)
@given(lengths)
def test_stft_is_undone_at_any_length(n):
    x = noise(2, n, seed=n)
    spec = stft(x)
    assert spec.shape == (2, 1025, n // 1024 + 1) and spec.dtype == torch.complex64
    back = istft(spec, length=n)
    # sample (t - 1) * 1024 + i lies under window value cos(pi i / 2048) ** 2, by which its rounding error is divided
    after = (torch.arange(n) - (n // 1024) * 1024).clamp(min=0)
    assert ((back - x).abs() <= 3e-6 / torch.cos(math.pi * after / 2048) ** 2).all()


@settings(max_examples=25, deadline=None)
@given(lengths, st.integers(0, 3))
def test_every_length_goes_through_mel_and_back(n, n_iter):
    transform = MelTransform()
    x = noise(1, 2, n, seed=n)
    mel = transform(x)
    assert mel.shape == (1, 2, 128, transform.frames(n)) and mel.isfinite().all()
    y = griffin_lim(transform.to_magnitude(mel), n_iter=n_iter, length=n)
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
    spec = stft(x, n_fft, hop)
    assert spec.shape == (n_fft // 2 + 1, n // hop + 1)
    whole = n // hop * hop
    if whole: torch.testing.assert_close(istft(spec, n_fft, hop), x[:whole], atol=1e-4, rtol=0)
    y = griffin_lim(spec.abs(), 2, n_fft=n_fft, hop=hop, length=n)
    assert y.shape == x.shape and y.isfinite().all()


@pytest.mark.parametrize("decibels", [-40, 40])
@pytest.mark.parametrize("channels", [1, 2])
def test_levels_come_back(transform, decibels, channels):
    gain, x = 10 ** (decibels / 20), noise(1, channels, 20_000)
    usual, other = (griffin_lim(transform.to_magnitude(transform(g * x)), n_iter=8) for g in (1, gain))
    level = 20 * math.log10(other.norm() / usual.norm())
    assert abs(level - decibels) < 0.1


def test_autocast_and_half_precision_change_nothing(transform):
    x = noise(2, 2, 9000)
    mel = transform(x)
    mags = transform.to_magnitude(mel)
    wave = griffin_lim(mags, n_iter=3)
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype=dtype):
            for now, before in [(transform(x), mel), (transform.to_magnitude(mel), mags), (griffin_lim(mags, n_iter=3), wave),
                                (transform.inverse(mel), transform.inverse(mel)), (istft(stft(x)), istft(stft(x)))]:
                assert now.dtype == torch.float32 and torch.equal(now, before)
        low = x.to(dtype)
        assert torch.equal(transform(low), transform(low.float()))
        assert transform.to_magnitude(mel.to(dtype)).dtype == torch.float32
        assert griffin_lim(mags.to(dtype), n_iter=1).dtype == torch.float32


def test_a_module_in_half_precision_keeps_its_numbers():
    a, b = MelTransform().train(), MelTransform().train().half()
    x = noise(1, 2, 9000)
    for seed in range(3): a(noise(1, 2, 9000, seed=seed)); b(noise(1, 2, 9000, seed=seed))
    assert torch.equal(a.eval()(x), b.eval().bfloat16()(x))
    assert {t.dtype for t in b.state_dict().values()} == {torch.float32}


def test_state_dict_holds_all_that_was_learned():
    a = MelTransform(n_mels=64, momentum=1e-2).train()
    for seed in range(3): a(noise(1, 2, 9000, seed=seed, level=0.1 * (seed + 1)))
    b = MelTransform(**a.settings())
    assert not b.training
    b.load_state_dict(a.state_dict())
    x = noise(1, 2, 9000, seed=9)
    assert torch.equal(a(x), b.train()(x))  # the next training step is the same as well
    assert all(torch.equal(s, t) for s, t in zip(a.state_dict().values(), b.state_dict().values()))


def test_eval_learns_nothing(transform):
    before = {k: v.clone() for k, v in transform.state_dict().items()}
    transform(noise(1, 2, 9000, level=0.9))
    assert all(torch.equal(v, before[k]) for k, v in transform.state_dict().items())


@pytest.mark.parametrize("scaler", [StandardScaler, MinMaxScaler])
def test_the_first_batch_has_no_privilege(scaler):
    batches = [noise(100, seed=s, level=1) + (50 if s == 0 else 0) for s in range(300)]
    first, last = scaler().train(), scaler().train()
    for b in batches: first(b)
    for b in batches[1:] + batches[:1]: last(b)
    x = torch.zeros(1)
    assert abs(first.eval().inverse(x)) < 1 and abs(last.eval().inverse(x)) < 1  # one batch in hundreds, wherever it comes


def test_scalers_survive_constant_input():
    for scaler in (StandardScaler().train(), MinMaxScaler().train()):
        y = scaler(torch.full((2, 3), 7.))
        assert y.isfinite().all()
        torch.testing.assert_close(scaler.inverse(y), torch.full((2, 3), 7.))


def test_seeds():
    S = magnitude(noise(2, 2, 30_000))
    gens = lambda *seeds: [torch.Generator().manual_seed(s) for s in seeds]
    both = griffin_lim(S, 4, generator=gens(3, 4))
    assert torch.equal(both, griffin_lim(S, 4, generator=gens(3, 4)))
    assert torch.equal(both[1:], griffin_lim(S[1:], 4, generator=gens(4)))
    assert torch.equal(both[0], griffin_lim(S[0], 4, generator=gens(3)[0]))
    assert not torch.equal(both[:1], griffin_lim(S[:1], 4, generator=gens(4)))
    assert torch.equal(griffin_lim(S, 4)[1:], griffin_lim(S[1:], 4, generator=gens(0)))
    state = torch.get_rng_state()
    griffin_lim(S, 1)
    assert torch.equal(state, torch.get_rng_state())  # the global seed is nobody else's business


def test_long_signals_in_blocks_are_the_same_walk():
    # frames beyond the first block of 512 must join it without a seam
    x = 0.3 * torch.sin(2 * math.pi * 440 / 44_100 * torch.arange(700 * 1024).double()).float()
    y = griffin_lim(magnitude(x), n_iter=4)
    error = (magnitude(y) - magnitude(x)).norm(dim=0) / magnitude(x).norm(dim=0)
    assert error[505:520].max() < 2 * error[100:500].max()


def test_silence_and_one_sample(transform):
    for x in (torch.zeros(1, 2, 5000), torch.zeros(1, 1, 1)):
        mel = transform(x)
        torch.testing.assert_close(mel, torch.full_like(mel, -1.))
        assert griffin_lim(transform.to_magnitude(mel), length=x.shape[-1]).abs().max() < 1e-9
        assert torch.equal(griffin_lim(magnitude(x), length=x.shape[-1]), x)
    mixed = torch.cat([torch.zeros(1, 1, 9000), noise(1, 1, 9000)], 1)  # one silent channel
    y = griffin_lim(magnitude(mixed), length=9000)
    assert y[0, 0].abs().max() == 0 and y[0, 1].abs().max() > 0.1


def test_gradients_reach_the_waveform(transform):
    x = noise(1, 2, 5000).requires_grad_()
    transform(x).mean().backward()
    assert x.grad.isfinite().all() and x.grad.abs().max() > 0


@pytest.mark.parametrize("bad, word", [
    (torch.zeros(2, 1024), "batch"), (torch.zeros(1024), "waveform"), (torch.zeros(1, 2, 0), "waveform"),
    (torch.zeros(1, 2, 9).int(), "waveform"), (torch.full((1, 2, 9), math.nan), "NaN"), (torch.full((1, 2, 9), math.inf), "infinit")])
def test_bad_waveforms(transform, bad, word):
    with pytest.raises(InputError, match=word): transform(bad)


@pytest.mark.parametrize("bad, kwargs", [
    (torch.full((1025, 4), math.nan), {}), (-torch.ones(1025, 4), {}), (torch.ones(1025, 4).cfloat(), {}), (torch.ones(1025), {}),
    (torch.ones(513, 4), {}), (torch.ones(1025, 4), dict(length=0)), (torch.ones(1025, 4), dict(length=4096)), (torch.ones(1025, 1), {}),
    (torch.ones(0, 2, 1025, 4), {}), (torch.ones(1025, 4), dict(momentum=1.)), (torch.ones(1025, 4), dict(n_iter=-1)),
    (torch.ones(2, 1, 1025, 4), dict(generator=[torch.Generator()])), (torch.ones(1025, 4), dict(hop=2048)), (torch.ones(1025, 4), dict(hop=1000))])
def test_bad_magnitudes(bad, kwargs):
    with pytest.raises(InputError): griffin_lim(bad, **kwargs)


@pytest.mark.parametrize("kwargs", [dict(n_mels=0), dict(eps=0), dict(hop=1500), dict(momentum=0)])
def test_bad_settings(kwargs):
    with pytest.raises(InputError): MelTransform(**kwargs)


def test_bad_filters_and_empty_ones():
    for kwargs in (dict(f_min=-1), dict(f_max=30_000), dict(f_min=500, f_max=400)):
        with pytest.raises(InputError): mel_filters(**kwargs)
    with pytest.warns(UserWarning, match="fall between two bins"): mel_filters(n_mels=300)
