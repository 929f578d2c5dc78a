"""Edits through the score: the lag at which a song repeats itself, what is copied, and filled holes."""
import numpy as np
import pytest
import torch

from msanii import Msanii
from msanii.audio import InputError, load_audio, resample, save_audio
from msanii.pipeline import Settings, pretrained_vocoder
from msanii.pulse import RATE
from msanii.score import render_score, song_by_rules
from msanii.through import best_lag, echoed, voices
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


def test_two_holes():
    "Nothing is copied from one hole into the other."
    struck, missing = song(200, 1700), np.zeros(1700, bool)
    for a in (500, 700): missing[a : a + 100] = True
    struck[:, missing] = 0
    lag, _ = best_lag(struck, 700, 800, missing=missing)
    assert lag % 200 == 0 and lag != 200 and best_lag(struck, 500, 600, missing=missing)[0] != -200


def test_no_lag():
    "Noise is like nothing, and a hole as long as half the song has no room for its source."
    noise = (np.random.default_rng(0).random((KEYS, 1700)) < 0.01).astype(np.float32)
    noise[:, 800:900] = 0
    assert best_lag(noise, 800, 900)[1] < 0.15
    assert best_lag(song(200, 1000), 200, 800) == (None, 0.0)


def test_the_lag_by_the_formula():
    "Lag by lag, with the sums as they are written."
    rng = np.random.default_rng(0)
    for a, b, other in ((100, 130, 400), (0, 40, 300), (560, 600, 20), (250, 300, 262)):
        struck, missing = rng.random((88, 600)) ** 12, np.zeros(600, bool)
        missing[a:b], missing[other:other + 25], best = True, True, (None, 0.0)
        s = np.maximum(struck, np.maximum(np.roll(struck, 1, 1), np.roll(struck, -1, 1)))
        for lag in [*range(b - 600, a - b + 1), *range(b - a, a + 1)]:
            t = [i for i in range(600) if a - 512 < i < b + 512 and 0 <= i - lag < 600]
            t = np.array([i for i in t if not missing[i] and not missing[i - lag]])
            if missing[a - lag:b - lag].any() or len(t) < 259: continue
            x, y = s[:, t], s[:, t - lag]
            like = (x * y).sum() / np.sqrt(np.square(x).sum() * np.square(y).sum())
            if like > best[1] + 1e-6: best = lag, like
        lag, like = best_lag(struck, a, b, missing=missing)
        assert lag == best[0] and like == pytest.approx(best[1], abs=1e-6)


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


@pytest.fixture(scope="module")
def shipped(): return Msanii.from_pretrained(device="cpu")


@pytest.fixture(scope="module")
def played():
    "Twelve seconds that FluidSynth plays, (2, n)."
    return render_score(song_by_rules(3, seconds=12))[:, : 12 * 44_100]


def notes_of(score): return [n for i in score.instruments for n in i.notes]


def test_voices():
    "The lowest of each half bar, or the highest; none, or all."
    table = np.array([[0, 1, 60, 80], [1, 2, 40, 80], [1, 2, 70, 80], [2, 3, 50, 80], [3.5, 4, 45, 80.0]])
    assert voices(table, 0.5)[:, 2].tolist() == [40, 60, 45]
    assert voices(table, 0.5, top=True)[:, 2].tolist() == [70, 60, 50]
    assert len(voices(table, 0)) == 0 and len(voices(table, 1)) == 5


def test_a_song_is_told_anew(shipped, played):
    "By other players, with its own notes or others, as long and as loud as it was."
    m, how = shipped, dict(steps=1, progress=False)
    score = m.retold(played, "melody=violin, piano=guitar")
    assert {i.program for i in score.instruments if not i.is_drum} == {24, 40}
    pitches = lambda s: sorted(n.pitch for n in notes_of(s))
    assert pitches(score) == pitches(m.retold(played)) != pitches(m.retold(played, strength=0.8))
    made, again = (m.style_transfer(played, 0, instruments="piano=guitar", **how) for _ in range(2))
    assert made.shape == played.shape and torch.equal(made, again)
    assert abs(20 * torch.log10(made.square().mean() / played.square().mean()) / 2) < 1
    assert m.style_transfer(played[:1, :200_000], 0, through="score", **how).shape == (1, 200_000)
    with pytest.raises(InputError, match="next to nothing"):
        m.style_transfer(torch.zeros(2, 90_000), 0, through="score", **how)
    with pytest.raises(InputError, match="choose 'score'"):
        m.style_transfer(played, 0, through="sound", instruments="piano=guitar", **how)


def test_between_two_scores(shipped, played):
    "The ends are the songs' own notes; between them lie tempo and length, and both songs are heard."
    m, other = shipped, render_score(song_by_rules(8, seconds=9))[:, : 9 * 44_100]
    ends = [m.score_between(played, other, r) for r in (0, 0.5, 1)]
    tempi = [s.get_tempo_changes()[1][0] for s in ends]
    assert min(tempi[0], tempi[2]) - 0.1 <= tempi[1] <= max(tempi[0], tempi[2]) + 0.1
    own = lambda s, w: {n.pitch for n in notes_of(s)} <= {n.pitch for n in notes_of(m.retold(w))}
    assert own(ends[0], played) and own(ends[2], other)
    assert notes_of(ends[1]) and not own(ends[1], other)
    made = m.interpolate(played, other, 0.5, through="score", steps=1, progress=False)
    assert made.shape == (2, round((played.shape[1] + other.shape[1]) / 2))


def test_a_model_without_ears_says_so(model, played):
    "Through the score only where the model can hear, compose and play."
    model.transcriber = None
    for call in (lambda: model.style_transfer(played, 0, through="score"),
                 lambda: model.interpolate(played, played, through="score"),
                 lambda: model.outpaint(played, 1, through="score")):
        with pytest.raises(InputError, match="cannot hear, compose and play"): call()


def test_a_continuation_is_composed(shipped, played):
    "What is added plays notes, those before it stay to the bit, and a seed says what comes."
    m, n = shipped, played.shape[1]
    made = m.outpaint(played, 4, steps=2, seed=1, progress=False)
    assert made.shape == (2, n + 4 * 44_100) and torch.equal(made[:, : n - 4410], played[:, : n - 4410])
    assert (m.hear(made[:, n:])[PLACES["struck"]].amax(0) > 0.5).sum() >= 3
    again, other = (m.outpaint(played, 4, steps=2, seed=s, progress=False) for s in (1, 2))
    assert torch.equal(made, again) and not torch.equal(made, other)


def test_a_beginning_is_composed(shipped, played):
    """Longer than a beat can be in a MIDI file, 16.8 s; as full of notes as what follows, and its score as
    loud as where the song is continued."""
    m, new = shipped, 18 * 44_100
    made = m.outpaint(played, 18, "left", steps=1, seed=1, progress=False)
    assert made.shape[1] == new + played.shape[1] and torch.equal(made[:, new + 4410 :], played[:, 4410:])
    strokes = lambda x: (m.hear(x)[PLACES["struck"]] > 0.5).sum().item() / x.shape[1]
    assert 0.3 < strokes(made[:, :new]) / strokes(played) < 3
    rest, n = torch.zeros(2, new), played.shape[1]
    before = m.filled_score(torch.cat([rest, played], 1), [(0.0, 18.0)])
    after = m.filled_score(torch.cat([played, rest], 1), [(n / 44_100, n / 44_100 + 18)])
    notes = lambda score: [note for i in score.instruments for note in i.notes]
    loud = [np.mean([note.velocity for note in notes(score)]) for score in (before, after)]
    assert loud[0] == pytest.approx(loud[1], abs=6)


def test_a_rest_before_a_seam_makes_nothing_louder(shipped):
    "A score says how loud a hole is; levelled at its seams, it was 10 dB too loud where a rest met one."
    score = song_by_rules(3, seconds=20)
    for track in score.instruments:  # a rest from 11.2 to 12.6 s; the hole ends within it
        track.control_changes = []
        track.notes = [n for n in track.notes if not 11.2 <= n.start < 12.6]
        for n in track.notes:
            if n.start < 11.2 < n.end: n.end = 11.2
    whole = shipped.render(score, progress=False)
    made = shipped.inpaint(whole, [(8, 12.4)], score=score, progress=False)
    level = lambda w: 10 * w[:, round(8.2 * 44_100):round(11 * 44_100)].square().mean().log10()
    assert abs(level(made) - level(whole)) < 1
    inside = slice(round(8 * RATE) + 2, round(11 * RATE))
    unrest = lambda w: shipped.encode(w[None])[0, :, 64:, inside].diff(dim=-1).abs().mean()
    assert abs(unrest(made) / unrest(whole) - 1) < 0.25, "it beats as what is played does"


def test_a_long_recording_of_another_rate(shipped, played, tmp_path):
    "Twenty minutes, mono, 22,050 Hz: transcribed, a hole filled through the score, learned from."
    from msanii.adapting import adapt, fitted
    from msanii.corpus import record_corpus
    from msanii.training import RECIPES
    from dataclasses import replace
    low = resample(played.mean(0, keepdim=True), 44_100, 22_050)
    (tmp_path / "rec").mkdir()
    save_audio(tmp_path / "rec" / "long.wav", low.repeat(1, 100), 22_050)
    waveform = load_audio(tmp_path / "rec" / "long.wav")
    assert waveform.shape[1] == pytest.approx(1200 * 44_100, rel=1e-3)
    score = shipped.transcribe(waveform)
    assert 1190 < score.get_end_time() < 1202 and len(notes_of(score)) > 1000
    filled = shipped.inpaint(waveform, [(600, 602)], steps=1, progress=False)
    changed = (filled != waveform).any(0).nonzero()[:, 0]
    assert 599.9 * 44_100 < changed.min() and changed.max() < 602.1 * 44_100
    corpus = record_corpus(tmp_path / "rec", tmp_path / "corpus", seconds=60, n_jobs=1, progress=False)
    recipe = replace(fitted(RECIPES["unet"]["adapt"], shipped), steps=1, batch=1, frames=32, warmup=1,
                     ema_start=1, ema_every=1, save_every=2, validate_every=10)
    new, _, history = adapt(shipped, corpus, recipe, None, progress=False)
    assert history[-1]["step"] == 1 and new.unet is not shipped.unet
