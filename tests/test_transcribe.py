"""Hearing notes: pictures and notes, wear, beats and bars, scores of recordings, and the command."""
import json
import warnings

import numpy as np
import pytest
import torch

from msanii import Msanii
from msanii.app import main
from msanii.audio import InputError, load_audio, save_audio
from msanii.pipeline import Settings, pretrained_vocoder
from msanii.pulse import RATE
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


def test_pieces_are_the_whole(model):
    waveform = 0.1 * torch.randn(2, 44_100 * 3, generator=torch.Generator().manual_seed(0))
    whole, parts = model.hear(waveform), model.hear(waveform, frames=32)
    assert whole.shape == parts.shape == (ROWS, 130) and (whole - parts).abs().max() < 1e-4


def test_level_does_not_matter(model):
    "However faint a recording is, it is brought to a level that is known."
    waveform = 0.01 * torch.randn(2, 44_100, generator=torch.Generator().manual_seed(0))
    assert (model.hear(waveform) - model.hear(0.03 * waveform)).abs().max() < 1e-3


BEATS = np.arange(0, 960, 20)

def in_bars(meter, first):
    "What a transcriber would say (272, 960) of three chords in turn, a bar each."
    chords, p = ((0, 4, 7), (5, 9, 0), (7, 11, 2)), np.zeros((ROWS, 960))
    for i, beat in enumerate(BEATS):
        bar = (i - first) // meter
        for pitch in chords[bar % 3]: p[PLACES["sounding"]][40 + pitch, beat : beat + 20] = 1
        p[PLACES["struck"]][40, beat] = 1
        if (i - first) % meter == 0: p[PLACES["struck"]][10 + chords[bar % 3][0], beat] = 1
    return p


@pytest.mark.parametrize("meter", [3, 4])
@pytest.mark.parametrize("first", [0, 1, 2])
def test_bars(meter, first):
    "Bars begin where the harmony changes and the bass is struck."
    assert find_bars(in_bars(meter, first), BEATS) == (meter, first)


def test_beats_of_clicks():
    p = np.zeros((ROWS, 1300))
    times = np.arange(0.3, 29, 60 / 100)
    p[PLACES["struck"]][40, (times / FRAME).round().astype(int)] = 1
    beats, _, _ = find_beats(p)
    assert np.abs(np.diff(beats).mean() - 0.6) < 0.01
    assert np.median([np.abs(times - b).min() for b in beats]) < FRAME


@pytest.mark.parametrize("rest", [0.9, 3.1, 40.0])
@pytest.mark.parametrize("meter, first", [(4, 0), (4, 3), (3, 1)])
def test_beats_after_a_rest(rest, meter, first):
    "They go back through it, so that it can be filled and fits into a MIDI file; bars stay where they are."
    def bars(rest):
        lead = round(rest * RATE)
        p = np.pad(in_bars(meter, first), ((0, 0), (lead, 0)))
        beats, found, start = find_beats(p)
        return beats, found, beats[start] - lead / RATE
    (beats, found, start), (_, _, alone) = bars(rest), bars(0)
    assert np.diff(beats).max() < 1.2 * np.diff(beats).min() and beats[0] < meter * np.diff(beats).mean()
    assert found == meter and abs((start - alone + 0.5) % (meter * 20 / RATE) - 0.5) < 0.1
    score = as_midi(np.array([[rest + 1, rest + 2, 60, 90, 0]]), beats, meter, 0)
    assert abs(score.instruments[0].notes[0].start - rest - 1) < 0.003


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
    with pytest.raises(InputError, match="this model has no transcriber"):
        deaf.transcribe(torch.zeros(2, 44_100))


def test_command(eager, tmp_path, monkeypatch, capsys):
    "Another rate, mono, some minutes; a file that is none stops no other."
    monkeypatch.chdir(tmp_path)
    eager.save_pretrained("model")
    save_audio("long.wav", 0.1 * torch.randn(1, 8_000 * 200), 8_000)
    how = ["--threshold", "0.9", "--out", "long.mid", "--weights", "model"]
    assert main(["transcribe", "long.wav", *how]) == 0
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
