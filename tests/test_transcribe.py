"""Hearing notes: pictures and notes, wear, beats and bars, scores of recordings, and the command."""
import json
import warnings

import numpy as np
import pytest
import torch

from msanii import Msanii
from msanii.app import main
from msanii.audio import InputError, load_audio, save_audio
from msanii.hearing import WEAR, HearingRecipe, train_transcriber, worn
from msanii.pipeline import Settings, pretrained_vocoder
from msanii.score import band_roll
from msanii.sheet import load_sheet
from msanii.transcribe import as_midi, find_bars, find_beats, skyline
from msanii.transcriber import KEYS, LOWEST, PLACES, ROWS, Transcriber, find_notes, targets
from msanii.unet import UNet

FRAME = 1024 / 44_100


@pytest.fixture(scope="module")
def model():
    "A transcriber that has learned nothing."
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transcriber = Transcriber(width=16, blocks=2, kernel=5)
        unet = UNet(width=16, levels=2, blocks=1, heads=4)
    return Msanii(unet, *pretrained_vocoder(), Settings(iterations=2), transcriber=transcriber)


@pytest.fixture
def eager(model):
    "The same, but it hears many notes."
    with torch.no_grad(): model.transcriber.output.bias[PLACES["struck"]] += 6
    yield model
    with torch.no_grad(): model.transcriber.output.bias[PLACES["struck"]] -= 6


def picture(notes, frames):
    "What a transcriber would say that knows all: notes (on, off, pitch, velocity) in frames."
    p = np.zeros((ROWS, frames), np.float32)
    for on, off, pitch, velocity in notes:
        key = pitch - LOWEST
        p[PLACES["struck"]][key, on] = 0.99
        p[PLACES["sounding"]][key, on:off] = 0.99
        p[PLACES["loudness"]][key, on] = velocity / 127
    return p


@pytest.mark.parametrize("seed", range(5))
def test_notes_of_a_picture(seed):
    "Whatever is painted comes back: repeated keys, long notes, keys at both ends."
    rng, notes = np.random.default_rng(seed), []
    for pitch in rng.choice(np.arange(LOWEST, LOWEST + KEYS), 20, replace=False):
        edges = np.sort(rng.choice(np.arange(0, 200, 3), 6, replace=False))
        notes += [(a, b, pitch, int(rng.integers(1, 128))) for a, b in zip(edges[::2], edges[1::2])]
    table = find_notes(picture(notes, 200), seconds=1)
    wanted = sorted((a, b, p, v) for a, b, p, v in notes)
    assert sorted(map(tuple, table[:, :4].astype(int).tolist())) == wanted
    assert (np.diff(table[:, 0]) >= 0).all() and not table[:, 4].any()


def test_targets_are_the_roll():
    "What is to be said of a roll, said, gives the notes of the roll."
    table = np.array([[0.5, 1.0, 60, 90, 0, 0, 0], [0.5, 2.0, 21, 40, 2, 0, 0], [1.5, 1.6, 42, 80, 4, 128, 0]])
    said = targets(band_roll(table, 100)[None])[0]
    assert said.shape == (ROWS, 100)
    found = find_notes(said.numpy())
    assert sorted(found[found[:, 4] == 0][:, 2]) == [21, 60] and found[found[:, 4] == 1][:, 2].tolist() == [42]
    assert np.abs(found[:, 0] - [0.5, 0.5, 1.5]).max() < FRAME


def test_pieces_are_the_whole(model):
    waveform = 0.1 * torch.randn(2, 44_100 * 3, generator=torch.Generator().manual_seed(0))
    whole, parts = model.hear(waveform), model.hear(waveform, frames=32)
    assert whole.shape == parts.shape == (ROWS, 130) and (whole - parts).abs().max() < 1e-4


def test_level_does_not_matter(model):
    "However faint a recording is, it is brought to a level that is known."
    waveform = 0.01 * torch.randn(2, 44_100, generator=torch.Generator().manual_seed(0))
    assert (model.hear(waveform) - model.hear(0.03 * waveform)).abs().max() < 1e-3


def test_wear():
    mel = torch.rand(3, 128, 60, generator=torch.Generator().manual_seed(0))
    for change, _ in WEAR:
        a, b = (change(mel[0], torch.Generator().manual_seed(5)) for _ in range(2))
        assert a.shape == mel[0].shape and (a >= 0).all() and a.isfinite().all() and torch.equal(a, b)
        assert not torch.equal(a, change(mel[0], torch.Generator().manual_seed(6)))
        silent = change(torch.zeros(128, 60), torch.Generator().manual_seed(5))
        assert silent.isfinite().all()
    index = torch.tensor([4, 9, 2])
    assert torch.equal(worn(mel, index, 1)[1:2], worn(mel[1:2], index[1:2], 1))


@pytest.mark.parametrize("meter", [3, 4])
@pytest.mark.parametrize("first", [0, 1, 2])
def test_bars(meter, first):
    "Bars begin where the harmony changes and the bass is struck."
    beats, chords, p = np.arange(0, 960, 20), ((0, 4, 7), (5, 9, 0), (7, 11, 2)), np.zeros((ROWS, 960))
    for i, beat in enumerate(beats):
        bar = (i - first) // meter
        for pitch in chords[bar % 3]: p[PLACES["sounding"]][40 + pitch, beat : beat + 20] = 1
        p[PLACES["struck"]][40, beat] = 1
        if (i - first) % meter == 0: p[PLACES["struck"]][10 + chords[bar % 3][0], beat] = 1
    assert find_bars(p, beats) == (meter, first)


def test_beats_of_clicks():
    p = np.zeros((ROWS, 1300))
    times = np.arange(0.3, 29, 60 / 100)
    p[PLACES["struck"]][40, (times / FRAME).round().astype(int)] = 1
    beats, _, _ = find_beats(p)
    assert np.abs(np.diff(beats).mean() - 0.6) < 0.01
    assert np.median([np.abs(times - b).min() for b in beats]) < FRAME


@pytest.mark.parametrize("lead", [0.0, 0.31, 2.0])
@pytest.mark.parametrize("meter, first", [(4, 0), (4, 3), (3, 1)])
def test_a_score_keeps_its_notes(lead, meter, first):
    "Neither notes nor beats are moved, whatever comes before the first beat."
    beats = lead + np.cumsum(np.random.default_rng(0).uniform(0.4, 0.6, 40))
    onsets = np.sort(np.random.default_rng(1).uniform(0, beats[-1], 50))
    table = np.c_[onsets, onsets + 0.3, np.arange(50) % 40 + 40, np.full(50, 77), np.zeros(50)]
    score = as_midi(table, beats, meter, first)
    got = sorted((n.start, n.end, n.pitch) for i in score.instruments for n in i.notes)
    assert len(got) == 50 and np.abs(np.array(got)[:, 0] - onsets).max() < 0.003
    ticks = score.get_beats()
    end = score.get_end_time()
    assert max(np.abs(ticks - b).min() for b in beats if b < end) < 0.003
    bars = score.get_downbeats()
    assert max(np.abs(bars - b).min() for b in beats[first::meter] if b < end) < 0.003
    assert len(load_sheet(score).notes)


def test_skyline():
    "The upper voice over chords; a low note after the melody is none of it."
    melody = [(t, t + 0.9, 76, 90, 0) for t in range(4)]
    chords = [(t, t + 0.9, p, 60, 0) for t in range(4) for p in (48, 55, 60)]
    table = np.array(sorted([*melody, *chords, (4.5, 5, 40, 60, 0)]), float)
    assert set(table[skyline(table), 2]) == {76.0}


def test_silence_mono_and_odd_lengths(model, eager):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        quiet = model.transcribe(torch.zeros(2, 44_100), threshold=0.98)
    assert not quiet.instruments and any("no note was heard" in str(w.message) for w in said)
    for n in (1, 700, 30_000, 44_100 * 6 + 1):
        noise = 0.1 * torch.randn(1, n, generator=torch.Generator().manual_seed(n))
        score = eager.transcribe(noise)
        assert all(np.isfinite(n.start) and n.end > n.start for i in score.instruments for n in i.notes)
    for wrong, words in ((torch.full((2, 999), float("nan")), "NaN"), (torch.zeros(2, 0), "waveform")):
        with pytest.raises(InputError, match=words): model.transcribe(wrong)
    for threshold in (0, 1, "x"):
        with pytest.raises(InputError, match="threshold"): model.transcribe(torch.zeros(2, 999), threshold)


def test_a_model_without_ears(model):
    deaf = Msanii(model.unet, model.vocoder, model.mel, model.settings)
    with pytest.raises(InputError, match="this model has no transcriber"): deaf.transcribe(torch.zeros(2, 44_100))


def test_training_goes_on(tmp_path):
    "A run that was cut off gives the same bits as one that was not."
    from msanii.corpus import render_corpus
    from msanii.pop909 import Composed
    try: render_corpus(Composed(), tmp_path / "c", [1, 2], seconds=3, n_jobs=1, progress=False)
    except InputError as error: pytest.skip(str(error))
    how = dict(network=dict(width=16, blocks=1, kernel=3), batch=2, frames=64, save_every=2, ema_start=1)
    mel = pretrained_vocoder()[1]
    whole = train_transcriber(tmp_path / "c", HearingRecipe(steps=4, **how), mel, progress=False)[0]

    class Cut(Exception): pass
    def cut(step, _):
        if step == 3: raise Cut
    with pytest.raises(Cut):
        train_transcriber(tmp_path / "c", HearingRecipe(steps=4, **how), mel, folder=tmp_path / "r", callback=cut,
                          progress=False)
    again = train_transcriber(tmp_path / "c", HearingRecipe(steps=4, **how), mel, folder=tmp_path / "r",
                              progress=False)[0]
    for a, b in zip(whole.state_dict().values(), again.state_dict().values()): assert torch.equal(a, b)


def test_command(eager, tmp_path, monkeypatch, capsys):
    "Another rate, mono, 20 minutes; a file that is none stops no other."
    monkeypatch.chdir(tmp_path)
    eager.save_pretrained("model")
    save_audio("long.wav", 0.1 * torch.randn(1, 8_000 * 1200), 8_000)
    assert main(["transcribe", "long.wav", "--threshold", "0.9", "--out", "long.mid", "--weights", "model"]) == 0
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    save_audio("a.flac", 0.1 * torch.randn(2, 44_100 * 5))
    capsys.readouterr()
    how = ["--out", "m.mid", "--weights", "model", "--json"]
    assert main(["transcribe", "bad.wav", "a.flac", *how]) == 2
    out, err = capsys.readouterr()
    made = json.loads(out)["files"]
    assert "bad.wav" in err and [f["file"] for f in made] == ["m-a.mid"] and load_sheet("m-a.mid").notes.size
    assert main(["transcribe", "a.flac", "--out", "a.wav", "--weights", "model"]) == 2
    assert "ends in .mid" in capsys.readouterr().err
    assert load_audio("a.flac").shape[0] == 2


def test_the_weights_hear(pytestconfig):
    "The package's weights find most notes of a song by rules, and few others."
    from msanii.score import render_score, song_by_rules
    m = Msanii.from_pretrained(device="cpu")
    score = song_by_rules(seed=5, seconds=10)
    score.instruments = [i for i in score.instruments if not i.is_drum]
    for i in score.instruments: i.program = 0
    try: waveform = render_score(score)
    except InputError as error: pytest.skip(str(error))
    true = {(round(n.start / 0.05), n.pitch) for i in score.instruments for n in i.notes}
    heard = m.transcribe(waveform)
    found = [(n.start, n.pitch) for i in heard.instruments if not i.is_drum for n in i.notes]
    near = lambda start, pitch: any((round(start / 0.05) + d, pitch) in true for d in (-1, 0, 1))
    right = sum(near(*note) for note in found)
    assert right > 0.6 * len(found) and right > 0.6 * len(true)
