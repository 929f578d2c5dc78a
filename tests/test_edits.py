"""The four edits at any length, span, strength, ratio and side: what is kept is kept to the bit. And their
commands, on files as people have them."""
import math
import warnings

import numpy as np
import pytest
import soundfile as sf
import torch
from hypothesis import assume, given, settings, strategies as st

from msanii import outpainting
from msanii.app import main
from msanii.audio import SAMPLE_RATE, InputError, load_audio, save_audio
from msanii.score import song_by_rules, render_score
from msanii.long import LOOK, familiar_gain, limited, limited_part, limiting, rms, synthesise, with_level

RATE, QUIET = SAMPLE_RATE, dict(progress=False)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model(small_model):
    "Its window is short, so that a second of sound is long."
    return small_model(steps=2, window=1.0)


few = settings(max_examples=16, deadline=None, derandomize=True, database=None)
frames = st.builds(lambda t, more: max(1, 1024 * t + more), st.integers(0, 40), st.integers(-3, 3))
lengths = st.one_of(frames, st.integers(1, 60_000))  # from one sample on; at the edges of frames, too
channels, seeds = st.integers(1, 2), st.integers(0, 2**31)
unit = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1))
methods = st.sampled_from(["context", "repaint"])


@st.composite
def sounds(draw, n=lengths):
    "A waveform (c, n): noise, tones, or silence, at any level that is heard."
    n, c, g = draw(n), draw(channels), torch.Generator().manual_seed(draw(st.integers(0, 99)))
    kind = draw(st.sampled_from(["noise", "tones", "silence"]))
    gain = draw(st.sampled_from([1e-3, 0.05, 0.9]))
    if kind == "silence": return torch.zeros(c, n)
    if kind == "noise": return gain * (2 * torch.rand(c, n, generator=g) - 1)
    return gain * torch.sin(torch.arange(n) / RATE * 2 * torch.pi * torch.tensor([[220.0], [331.0]])[:c])


@st.composite
def spans_of(draw, n):
    "One to three spans in samples within n: apart, overlapping, at the edges, all of it."
    ends = st.one_of(st.integers(0, n), st.sampled_from([0, n]))
    pairs = [tuple(sorted((draw(ends), draw(ends)))) for _ in range(draw(st.integers(1, 3)))]
    pairs = [(a, b) for a, b in pairs if a < b]
    assume(pairs)
    return pairs


def in_seconds(pairs): return [(a / RATE, b / RATE) for a, b in pairs]


def untouched(n, pairs, fade):
    "Where a waveform of n samples must be what it was."
    mask = torch.ones(n, dtype=torch.bool)
    for a, b in pairs: mask[max(0, a - round(fade * RATE)):b + round(fade * RATE)] = False
    return mask


@few
@given(st.data(), sounds(), methods, seeds, st.sampled_from([0, 0.01, 0.05]))
def test_inpaint_leaves_the_rest(model, data, x, method, seed, fade):
    n = x.shape[-1]
    pairs = data.draw(spans_of(n))
    made = model.inpaint(x, in_seconds(pairs), method, seed=seed, fade=fade, **QUIET)
    mask = untouched(n, pairs, fade)
    assert made.shape == x.shape and made.isfinite().all()
    assert torch.equal(made[:, mask], x[:, mask])
    assert torch.equal(made, model.inpaint(x, in_seconds(pairs), method, seed=seed, fade=fade, **QUIET))


@few
@given(st.data(), sounds(st.integers(3000, 60_000)), seeds)
def test_spans_are_a_set(model, data, x, seed):
    "Overlapping spans are as good as their union, in any order, and what was in them plays no part."
    n = x.shape[-1]
    pairs = data.draw(spans_of(n))
    hole = torch.zeros(n, dtype=torch.bool)
    for a, b in pairs: hole[a:b] = True
    edges = torch.diff(torch.nn.functional.pad(hole.int(), (1, 1))).nonzero().flatten().tolist()
    union = list(zip(edges[::2], edges[1::2]))
    made = model.inpaint(x, in_seconds(pairs), seed=seed, **QUIET)
    assert torch.equal(made, model.inpaint(x, in_seconds(union), seed=seed, **QUIET))
    other = torch.where(hole, torch.rand(n, generator=torch.Generator().manual_seed(1)), x)
    assert torch.equal(made, model.inpaint(other, in_seconds(pairs[::-1]), seed=seed, **QUIET))


@few
@given(st.integers(1, 50_000), st.floats(-2, 3), st.floats(-2, 3))
def test_spans_outside_are_refused(model, n, start, end):
    inside = 0 <= start < end <= n / RATE and round(start * RATE) < round(end * RATE)
    assume(not inside and not (abs(end - n / RATE) < 1 / RATE))
    with pytest.raises(InputError, match="span"): model.inpaint(torch.zeros(2, n), [(start, end)], **QUIET)


@few
@given(sounds(), st.floats(1e-4, 0.6), st.sampled_from(["left", "right", "both"]), methods, seeds,
       st.sampled_from([0, 0.05]))
def test_outpaint_keeps_the_song_in_its_place(model, x, seconds, side, method, seed, fade):
    n, new, f = x.shape[-1], round(seconds * RATE), round(fade * RATE)
    assume(new > 0)
    made = model.outpaint(x, seconds, side, method, seed=seed, fade=fade, **QUIET)
    left, right = new * (side != "right"), new * (side != "left")
    assert made.shape == (len(x), left + n + right) and made.isfinite().all()
    first, last = f * (left > 0), n - f * (right > 0)
    if first < last: assert torch.equal(made[:, left + first:left + last], x[:, first:last])
    assert torch.equal(made, model.outpaint(x, seconds, side, method, seed=seed, fade=fade, **QUIET))


@few
@given(sounds(), unit, seeds)
def test_style_transfer_keeps_shape_and_loudness(model, x, strength, seed):
    made = model.style_transfer(x, strength, seed=seed, **QUIET)
    assert made.shape == x.shape and made.isfinite().all()
    assert torch.equal(made, model.style_transfer(x, strength, seed=seed, **QUIET))
    if min(rms(x), rms(made)) > 1e-5:
        at_peak = made.abs().max() > 0.999  # as loud as fits into a file
        assert rms(made) == pytest.approx(rms(x), rel=1e-3) or at_peak and rms(made) < rms(x)


def master(squash, peak=0.999):
    "A song that was made as loud as a file allows."
    song = render_score(song_by_rules(2, 4))[:, : 3 * RATE]
    loud = torch.tanh(squash * song / rms(song))
    return loud * (peak / loud.abs().max())


@pytest.mark.parametrize("squash", (0.3, 1.0))
@pytest.mark.parametrize("peak", (0.999, 1.025), ids=("wav", "mp3"))
def test_a_loud_master(model, squash, peak):
    "What is new stays within what a file holds, loudness is kept or a word said, kept samples are exact."
    song, how = master(squash, peak), dict(steps=2, progress=False)
    tasks = lambda: model.style_transfer(song, 0.5, **how), lambda: model.interpolate(song, song, **how)
    for task in tasks:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            made = task()
        less = -20 * math.log10(rms(made) / rms(song))
        assert made.abs().max() <= 1 and -0.1 < less
        if said: assert f"{less:.1f} dB quieter" in str(said[0].message) and squash > 0.3
        else: assert less < 1 and (squash > 0.3 or less < 0.05)
    made, a, b, fade = model.inpaint(song, [(1, 2)], **how), RATE, 2 * RATE, round(0.05 * RATE)
    assert torch.equal(made[:, : a - fade], song[:, : a - fade])
    assert torch.equal(made[:, b + fade :], song[:, b + fade :])
    assert made[:, a - fade : b + fade].abs().max() <= 1
    made = model.outpaint(song, 1.0, side="both", **how)
    assert torch.equal(made[:, RATE + fade : -RATE - fade], song[:, fade:-fade])
    assert max(part.abs().max() for part in (made[:, :RATE], made[:, -RATE:])) <= 1


def test_the_same_master_as_wav_and_as_mp3(model):
    "A peak that overshoots by a decoder changes nothing else."
    how = dict(steps=2, progress=False)
    one, other = (model.style_transfer(master(0.3, peak), 0.5, **how) for peak in (0.999, 1.025))
    assert abs(20 * math.log10(rms(other) / rms(one)) - 20 * math.log10(1.025 / 0.999)) < 0.05


@few
@given(st.integers(1, 3000), channels, st.floats(0.1, 30), seeds)
def test_the_limiter(n, c, gain, seed):
    "Within the ceiling, silent where it need not act, no sooner than 8 ms, and without corners."
    x = gain * torch.randn(c, n, generator=torch.Generator().manual_seed(seed))
    made, gains = limited(x), limiting(x)
    assert made.abs().max() <= 1 and made.shape == x.shape and (gains <= 1).all()
    assert gains.diff().abs().max() <= 1 / 364 if n > 1 else True
    if x.abs().max() <= 1: assert made is x and (gains == 1).all()
    click = torch.zeros(1, 4000)
    click[0, 2000] = 2
    away = (limiting(click) < 1 - 1e-6).nonzero().flatten()
    assert limited(click)[0, 2000] == 1 and 1270 <= away[0] and away[-1] <= 2730


@few
@given(st.integers(1, 5000), st.lists(st.integers(0, 5000), max_size=4), channels, seeds)
def test_the_limiter_in_parts(n, cuts, c, seed):
    "Parts that know what comes within `LOOK` samples behind them make up what is limited at once."
    x = 0.5 * torch.randn(c, n, generator=torch.Generator().manual_seed(seed))
    ends = sorted({0, n, *(min(cut, n) for cut in cuts)})
    parts = [limited_part(x[:, : stop + LOOK], start, stop) for start, stop in zip(ends, ends[1:])]
    assert torch.allclose(torch.cat(parts, -1), limited(x), atol=1e-6)


def test_loud_blocks_of_a_stream(model, monkeypatch):
    "They come as if the whole had been limited at once: not clipped, and no step where blocks meet."
    def stream(part):
        calls = []
        def louder(m, x, known, keep, *how):
            calls.append(0)
            new = synthesise(m, x, known, keep, *how)
            return torch.where(keep, new, new * 2.5 / new.abs().max()) if len(calls) > 1 else new
        monkeypatch.setattr(outpainting, "synthesise", louder)
        monkeypatch.setattr(outpainting, "limited_part", part)
        return torch.cat(list(model.stream(6, window=2, context=1, steps=1)), -1)
    raw, made = stream(lambda x, start, stop: x[:, start:stop]), stream(limited_part)
    assert raw.shape == made.shape == (2, 6 * 44_100) and (raw.abs() > 1).sum() > 1000
    assert made.abs().max() <= 1 and (made.abs() == 1).sum() < 100
    assert torch.allclose(made[:, :-LOOK], limited(raw)[:, :-LOOK], atol=1e-5)


@few
@given(sounds(st.integers(1, 40_000)), seeds)
def test_strength_0_is_mel_and_vocoder(model, x, seed):
    x = familiar_gain(x) * x  # so that the network's level is the waveform's own
    if rms(x) > 0: x = x / max(1, x.abs().max().item())
    made = model.style_transfer(x, 0, seed=seed, **QUIET)
    expected = model.reconstruct(familiar_gain(x) * x, seed)
    torch.testing.assert_close(made, with_level(expected, rms(x)), atol=1e-4, rtol=1e-3)


@few
@given(st.integers(2000, 40_000), channels, seeds, st.floats(0.001, 0.004))
def test_strength_near_0_is_nearly_that(model, n, c, seed, strength):
    "Though this network has learned nothing, and returns from a clean song what has nothing to do with it."
    x = 0.1 * torch.rand(c, n, generator=torch.Generator().manual_seed(n)) - 0.05
    heard = lambda strength: model.encode(model.style_transfer(x, strength, seed=seed, **QUIET)[None])
    near, zero, half = map(heard, (strength, 0, 0.5))
    assert (near - zero).abs().mean() < 0.05 < (half - zero).abs().mean()


@few
@given(sounds(st.integers(1, 40_000)), sounds(st.integers(1, 40_000)), unit, unit,
       st.sampled_from(["linear", "spherical"]), seeds)
def test_interpolate_lies_between(model, a, b, ratio, strength, mix, seed):
    made = model.interpolate(a, b, ratio, strength, mix, seed=seed, **QUIET)
    n = max(1, round((1 - ratio) * a.shape[-1] + ratio * b.shape[-1]))
    assert made.shape == (max(len(a), len(b)), n) and made.isfinite().all()
    assert torch.equal(made, model.interpolate(a, b, ratio, strength, mix, seed=seed, **QUIET))
    if len(a) == len(b):
        end = lambda ratio: model.interpolate(a, b, ratio, strength, mix, seed=seed, **QUIET)
        alone = lambda waveform: model.style_transfer(waveform, strength, seed=seed, **QUIET)
        assert torch.equal(end(0), alone(a))
        if mix == "linear": assert torch.equal(end(1), alone(b))


@few
@given(st.integers(2, 3), st.integers(2000, 30_000), channels, st.sampled_from(["ddpm", "ddim", "dpm"]),
       methods, seeds)
def test_batches_equal_their_items(model, size, n, c, sampler, method, seed):
    x = torch.rand(size, c, n, generator=torch.Generator().manual_seed(n)) - 0.5
    how, edit = dict(sampler=sampler, progress=False), dict(sampler=sampler, method=method, progress=False)
    span = [(0.2 * n / RATE, 0.6 * n / RATE)]
    edits = (lambda w, s: model.style_transfer(w, 0.6, seed=s, **how),
             lambda w, s: model.interpolate(w, w.flip(-1), 0.4, seed=s, **how),
             lambda w, s: model.inpaint(w, span, seed=s, **edit),
             lambda w, s: model.outpaint(w, 0.2, seed=s, **edit))
    for do in edits:
        assert torch.equal(do(x, seed), torch.stack([do(item, seed + i) for i, item in enumerate(x)]))


def seam(x, i, side):
    """The step in level (dB) of 0.4 s inside (side 1: on the right) and outside at sample i, and the peak
    difference there over that within a second."""
    w, f = round(0.4 * RATE), round(0.055 * RATE)
    level = lambda part: 10 * math.log10(part.square().mean().item() + 1e-12)
    d = x.diff(dim=-1).abs().amax(0)
    around = torch.cat([d[max(0, i - RATE):i - f], d[i + f:i + RATE]]).max()
    return side * (level(x[:, i:i + w]) - level(x[:, i - w:i])), (d[i - f:i + f].max() / around).item()


@few
@given(st.floats(1.1, 2.0), st.floats(0.8, 1.5), st.sampled_from([0.005, 0.05, 0.4]), methods, seeds)
def test_seams_hold_on_weak_weights(model, start, seconds, gain, method, seed):
    """Two tones; the network fills the hole with whatever comes out of it, and yet nothing steps or clicks.

    What comes out is noise, and the peaks of noise differ by themselves: hence 1.5."""
    t = torch.arange(round(4.6 * RATE)) / RATE
    x = gain * (torch.sin(2 * torch.pi * 196 * t) + torch.sin(2 * torch.pi * 294 * t)).expand(2, -1) / 2
    a, b = round(start * RATE), round((start + seconds) * RATE)
    made = model.inpaint(x, [(start, start + seconds)], method, seed=seed, **QUIET)
    for i, side in ((a, 1), (b, -1)):
        step, click = seam(made, i, side)
        assert abs(step) < 1 and click < 1.5
    n = round(1.5 * RATE)
    made = model.outpaint(x[:, :n], 1.5, method=method, seed=seed, **QUIET)
    step, click = seam(made, n, 1)
    assert abs(step) < 1 and click < 1.5


def test_the_measure_of_seams_can_fail():
    "A step of 3 dB and a single wrong sample are found."
    tone = torch.sin(torch.arange(3 * RATE) / RATE * 2 * torch.pi * 220).expand(2, -1)
    softer, wrong, i = tone.clone(), tone.clone(), 2 * RATE
    softer[:, i:] *= 0.7
    wrong[:, i] += 0.2
    assert abs(seam(softer, i, 1)[0]) > 2.9 and seam(wrong, i, 1)[1] > 1.5 and seam(tone, i, 1)[1] <= 1.001


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    """A composed piano song, the same as an mp3 of half the rate and as a mono wav, a drum loop, its score;
    and a model's folder."""
    folder = tmp_path_factory.mktemp("files")
    score = song_by_rules(3, 3.0)
    for instrument in score.instruments: instrument.program = 0
    score.write(str(folder / "song.mid"))
    whole = render_score(score)[:, :round(2.5 * RATE)]
    save_audio(folder / "piano.wav", whole)
    save_audio(folder / "half.mp3", torch.nn.functional.avg_pool1d(whole, 2), 22_050)
    save_audio(folder / "mono.wav", whole.mean(0, keepdim=True))
    drums = song_by_rules(4, 4.0)
    drums.instruments = [i for i in drums.instruments if i.is_drum]
    save_audio(folder / "drums.wav", render_score(drums)[:, :2 * RATE])
    model.save_pretrained(folder / "model")
    return folder


SECONDS = {"piano.wav": 2.5, "half.mp3": 2.5, "mono.wav": 2.5, "drums.wav": 2.0}


def run(files, command, *args, out):
    "A command on the tiny model: what it wrote, as 16-bit numbers (c, n)."
    out = files / out
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        how = ["--steps", "1", "--weights", str(files / "model"), "--out", str(out)]
        assert main([command, *map(str, args), *how]) == 0
    info = sf.info(out)
    assert (info.samplerate, info.channels) == (RATE, 2)
    return sf.read(out, dtype="int16")[0].T


def as_read(files, name):
    "A file as the commands hear it, as 16-bit numbers (2, n)."
    return (load_audio(files / name) * 2**15).round().clamp(-2**15, 2**15 - 1).numpy().astype(np.int16)


@pytest.mark.parametrize("name", SECONDS)
def test_commands_on_files(files, name):
    source = as_read(files, name)
    n, fade = source.shape[1], round(0.05 * RATE)
    assert abs(n / RATE - SECONDS[name]) < (0.08 if name.endswith("mp3") else 1e-3)  # mp3 is padded
    assert run(files, "style-transfer", files / name, "--strength", "0.5", out="a.wav").shape == (2, n)
    other = as_read(files, "drums.wav").shape[1]
    made = run(files, "interpolate", files / name, files / "drums.wav", "--ratio", "0.25", out="b.flac")
    assert made.shape == (2, round(0.75 * n + 0.25 * other))
    made = run(files, "inpaint", files / name, "0.5-1", "0.8-1.2", out="c.flac")
    a, b = round(0.5 * RATE), round(1.2 * RATE)
    assert made.shape == (2, n)
    assert np.array_equal(made[:, :a - fade], source[:, :a - fade])
    assert np.array_equal(made[:, b + fade:], source[:, b + fade:])
    assert not np.array_equal(made[:, a:b], source[:, a:b])
    made = run(files, "outpaint", files / name, "--seconds", "0.7", "--side", "both", out="d.wav")
    new = round(0.7 * RATE)
    assert made.shape == (2, n + 2 * new)
    assert np.array_equal(made[:, new + fade:new + n - fade], source[:, fade:n - fade])
    if name.startswith("mono"):
        assert np.array_equal(made[0, new + fade:new + n - fade], made[1, new + fade:new + n - fade])


def test_commands_without_files(files):
    assert run(files, "sample", "--seconds", "1.3", out="e.wav").shape == (2, round(1.3 * RATE))
    made = run(files, "render", files / "song.mid", out="f.wav")
    assert abs(made.shape[1] / RATE - 4.0) < 0.3  # the score's three seconds, and one to die away
