"""What the notebook on mel spectrograms has no room for: many lengths, odd settings, 16 bits, bad input."""
import math

import pytest
import torch
from hypothesis import given, settings, strategies as st

from msanii.audio import InputError
from msanii.mel import MelTransform, MinMaxScaler, StandardScaler, istft, mel_filters, stft

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
    # sample (t - 1) * 1024 + i lies under window value cos(pi i / 2048) ** 2, which divides its rounding
    after = (torch.arange(n) - (n // 1024) * 1024).clamp(min=0)
    assert ((back - x).abs() <= 3e-6 / torch.cos(math.pi * after / 2048) ** 2).all()


@settings(max_examples=25, deadline=None)
@given(lengths)
def test_every_length_has_a_mel(n):
    transform = MelTransform()
    mel = transform(noise(1, 2, n, seed=n))
    assert mel.shape == (1, 2, 128, transform.frames(n)) and mel.isfinite().all()
    back = transform.to_magnitude(mel)
    assert back.shape == (1, 2, 1025, transform.frames(n)) and back.isfinite().all() and back.min() >= 0


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([64, 256, 1000, 2048]), st.sampled_from([2, 4, 8]), st.integers(1, 5000))
def test_other_grids(n_fft, overlap, n):
    n_fft -= n_fft % (2 * overlap)
    hop, x = n_fft // overlap, noise(n, seed=n)
    spec = stft(x, n_fft, hop)
    assert spec.shape == (n_fft // 2 + 1, n // hop + 1)
    whole = n // hop * hop
    if whole: torch.testing.assert_close(istft(spec, n_fft, hop), x[:whole], atol=1e-4, rtol=0)


def test_autocast_and_half_precision_change_nothing(transform):
    x = noise(2, 2, 9000)
    mel = transform(x)
    mags, inverse, back = transform.to_magnitude(mel), transform.inverse(mel), istft(stft(x))
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype=dtype):
            for now, before in [(transform(x), mel), (transform.to_magnitude(mel), mags),
                                (transform.inverse(mel), inverse), (istft(stft(x)), back)]:
                assert now.dtype == torch.float32 and torch.equal(now, before)
        low = x.to(dtype)
        assert torch.equal(transform(low), transform(low.float()))
        assert transform.to_magnitude(mel.to(dtype)).dtype == torch.float32


def test_a_module_in_half_precision_keeps_its_numbers():
    a, b = MelTransform().train(), MelTransform().train().half()
    x = noise(1, 2, 9000)
    for seed in range(3):
        a(noise(1, 2, 9000, seed=seed))
        b(noise(1, 2, 9000, seed=seed))
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
    for one in (first, last): assert abs(one.eval().inverse(x)) < 1  # one batch in hundreds


def test_scalers_survive_constant_input():
    for scaler in (StandardScaler().train(), MinMaxScaler().train()):
        y = scaler(torch.full((2, 3), 7.))
        assert y.isfinite().all()
        torch.testing.assert_close(scaler.inverse(y), torch.full((2, 3), 7.))


def test_silence_and_one_sample(transform):
    for x in (torch.zeros(1, 2, 5000), torch.zeros(1, 1, 1)):
        mel = transform(x)
        torch.testing.assert_close(mel, torch.full_like(mel, -1.))
        assert transform.to_magnitude(mel).max() < 1e-6


def test_gradients_reach_the_waveform(transform):
    x = noise(1, 2, 5000).requires_grad_()
    transform(x).mean().backward()
    assert x.grad.isfinite().all() and x.grad.abs().max() > 0


@pytest.mark.parametrize("bad, word", [
    (torch.zeros(2, 1024), "batch"), (torch.zeros(1024), "waveform"), (torch.zeros(1, 2, 0), "waveform"),
    (torch.zeros(1, 2, 9).int(), "waveform"), (torch.full((1, 2, 9), math.nan), "NaN"),
    (torch.full((1, 2, 9), math.inf), "infinit")])
def test_bad_waveforms(transform, bad, word):
    with pytest.raises(InputError, match=word): transform(bad)


@pytest.mark.parametrize("kwargs", [dict(n_mels=0), dict(eps=0), dict(hop=1500), dict(momentum=0)])
def test_bad_settings(kwargs):
    with pytest.raises(InputError): MelTransform(**kwargs)


def test_bad_filters_and_empty_ones():
    for kwargs in (dict(f_min=-1), dict(f_max=30_000), dict(f_min=500, f_max=400)):
        with pytest.raises(InputError): mel_filters(**kwargs)
    with pytest.warns(UserWarning, match="fall between two bins"): mel_filters(n_mels=300)


@pytest.mark.parametrize("kwargs", [
    dict(length=0), dict(length=4096), dict(n_fft=1024), dict(hop=2048), dict(hop=1000)])
def test_bad_inverses(kwargs):
    with pytest.raises(InputError): istft(torch.ones(1025, 4).cfloat(), **kwargs)
