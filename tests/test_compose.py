"""Composing, on small networks that have learned nothing: what stays, what comes back, what is refused."""
import io

import numpy as np
import pretty_midi
import pytest
import torch
from hypothesis import given, settings, strategies as st

import msanii.compose  # it gives Msanii its method
from msanii.audio import InputError
from msanii.bits import BitUNet
from msanii.chords import QUALITIES, chord_name, parse_chord, parse_chords
from msanii.compose import parse_form, parse_key
from msanii.pipeline import Msanii
from msanii.plan import NOTES, PLAN, likeness, strokes
from msanii.score import ROLES
from msanii.sheet import Sheet, load_sheet, one_key, sixteenth_times, to_midi

few = settings(max_examples=8, deadline=None, derandomize=True)
many = settings(max_examples=200, deadline=None, derandomize=True)


@pytest.fixture(scope="module")
def m():
    torch.manual_seed(0)
    how = dict(width=16, levels=2, blocks=1, attention=1, heads=4, expansion=2, join=True)
    planner = BitUNet(d_freq=171, d_cond=PLAN.rows, **how).expect(np.full((1, 171), 0.5))
    composer = BitUNet(d_freq=264, d_cond=NOTES.rows, channels=2, **how).expect(np.full((2, 264), 0.05))
    return Msanii.__new__(Msanii)._hold(dict(planner=planner, composer=composer), msanii.pipeline.Settings())


def compose(m, *args, **kwargs): return m.compose(*args, **{"steps": 2, "progress": False, **kwargs})


def table(score):
    "All notes of a score, with their track."
    return sorted((i.name, n.start, n.end, n.pitch, n.velocity) for i in score.instruments for n in i.notes)


def tune(bars=8, name="MELODY"):
    "A score whose melody goes up and down, over a bass."
    score = pretty_midi.PrettyMIDI(initial_tempo=120)
    for role, step in ((name, 0.5), ("PIANO", 2.0)):
        track = pretty_midi.Instrument(0, name=role)
        for i in range(round(bars * 2 / step)):
            pitch = (60 if step < 1 else 36) + (0, 4, 7, 12)[i % 4]
            track.notes.append(pretty_midi.Note(50 + i % 60, pitch, i * step, (i + 0.9) * step))
        score.instruments.append(track)
    return score


@few
@given(st.integers(0, 2**62), st.floats(0.5, 40), st.floats(20, 300), st.sampled_from((3, 4)))
def test_the_seed_decides(m, seed, seconds, tempo, meter):
    how = dict(seconds=seconds, tempo=tempo, meter=meter)
    one = compose(m, seed=seed, **how)
    assert table(one) == table(compose(m, seed=seed, **how))
    assert [i.name for i in one.instruments] == list(ROLES)
    assert one.get_end_time() < seconds + meter * 60 / tempo + 1e-3
    both = compose(m, seed=seed, batch=2, **how)
    assert table(both[0]) == table(one) and table(both[1]) == table(compose(m, seed=seed + 1, **how))


def test_from_a_bar_to_hundreds(m, monkeypatch):
    monkeypatch.setattr(msanii.compose, "SHEET_WINDOW", 128)
    monkeypatch.setattr(msanii.compose, "PLAN_WINDOW", 32)
    for bars in (1, 2, 3, 7, 65, 300):
        sheet = load_sheet(compose(m, bars * 2.0, tempo=120, steps=1))
        assert bars - 2 <= len(sheet.lines) - 1 <= bars


@few
@given(st.sampled_from(["C", "C#", "Db", "D", "Eb", "E", "F", "F#", "Gb", "G", "Ab", "A", "Bb", "B"]),
       st.lists(st.sampled_from(sorted(QUALITIES)), min_size=2, max_size=5), st.sampled_from((3, 4)))
def test_chords_are_those_given(m, root, qualities, meter):
    text = " ".join(f"{root}:{quality}" for quality in qualities)
    made = load_sheet(compose(m, 12, chords=text, meter=meter, seed=3))
    wanted = parse_chords(text, meter)
    for i, chord in enumerate(made.chords):
        assert chord[::2] == wanted[i % len(wanted)][::2]  # the root may have another name: C6 is Am7/C


def test_equal_letters_are_equal_bars(m):
    sheet = load_sheet(compose(m, 32, tempo=120, form="A4 B4 A4 A4", variation=0, seed=1, steps=8))
    bars = strokes(sheet) + [set()] * 16
    assert bars[0:4] == bars[8:12] == bars[12:16] != bars[4:8]
    varied = load_sheet(compose(m, 32, tempo=120, form="A4 B4 A4 A4", variation=1, seed=1, steps=8))
    assert strokes(varied)[0:4] == bars[0:4] and strokes(varied)[8:12] != bars[8:12]


def test_what_is_kept_stays(m):
    score = tune()
    drums = pretty_midi.Instrument(0, is_drum=True, name="DRUMS")
    drums.notes.append(pretty_midi.Note(90, 38, 0.31, 0.4))
    score.instruments.append(drums)
    before = table(score)
    melody = [n for n in before if n[0] == "MELODY"]
    accompanied = compose(m, score=score, keep="melody")
    assert [n for n in table(accompanied) if n[0] == "MELODY"] == melody
    assert [n for n in table(accompanied) if n[0] == "DRUMS"] == [n for n in before if n[0] == "DRUMS"]
    assert [n for n in table(accompanied) if n[0] == "PIANO"] != [n for n in before if n[0] == "PIANO"]
    filled = table(compose(m, score=score, bars=[(3, 4)]))
    outside = lambda notes: [n for n in notes if not 4 <= n[1] < 8 or n[0] == "DRUMS"]
    assert outside(filled) == outside(before) and filled != before
    assert set(before) <= set(table(compose(m, 30, score=score)))
    assert table(compose(m, score=score, strength=0)) and table(score) == before  # what was given is whole


def test_a_single_track_is_a_melody(m):
    score = tune(4, name="")
    score.instruments = score.instruments[:1]
    notes = lambda s: sorted((n.start, n.pitch, n.velocity) for n in s.instruments[0].notes)
    made = compose(m, score=score, keep="melody", seed=2)
    assert notes(made) == notes(score) and len(made.instruments) > 1


@pytest.mark.parametrize("change", ["3/4", "tempo", "high", "one"])
def test_scores_of_other_kinds(m, change):
    score = tune(4)
    if change == "3/4": score.time_signature_changes.append(pretty_midi.TimeSignature(3, 4, 0))
    if change == "high": score.instruments[0].notes[0].pitch = 120
    if change == "one":
        del score.instruments[1]
        del score.instruments[0].notes[1:]
    if change == "tempo":
        file = io.BytesIO()
        times = sixteenth_times(np.cumsum([0.5] * 8 + [0.7] * 8))
        notes = np.array([[4 * i, 4 * i + 3, 60 + i, 80, 0] for i in range(15)])
        to_midi(Sheet(notes, times, np.arange(0, 65, 16))).write(file)
        score = pretty_midi.PrettyMIDI(io.BytesIO(file.getvalue()))
    for how in (dict(keep="melody"), dict(bars="1"), dict(strength=0.4), dict(seconds=20)):
        before = [n for n in table(score) if n[0] == "MELODY"]
        after = table(compose(m, score=score, **how))
        if "keep" in how or "seconds" in how: assert set(before) <= set(after)


def test_words(m):
    made = compose(m, 30, lyrics="Sing a song of sixpence / a pocket full of rye", tempo=90)
    onsets = {round(n.start, 4) for n in made.instruments[0].notes}
    assert len(made.lyrics) > 10 and {round(l.time, 4) for l in made.lyrics} <= onsets


@pytest.mark.parametrize("wrong, words", [
    (dict(seconds=0), "seconds"), (dict(seconds=4000), "seconds"), (dict(seconds="long"), "seconds"),
    (dict(chords="C | H"), "bar 2"), (dict(chords=""), "chords"), (dict(chords="C D E F G | A"), "bar 1"),
    (dict(key="H"), "key"), (dict(tempo=0), "tempo"), (dict(meter=5), "meter"),
    (dict(form="8 bars?"), "form"),
    (dict(form="A B C D E F G H"), "do not fit"), (dict(density=0), "density"), (dict(density=9), "density"),
    (dict(variation=2), "variation"), (dict(steps=0), "steps"), (dict(lyrics="..."), "lyrics"),
    (dict(lyrics="la " * 500), "lyrics"), (dict(lyrics="la", lang="klingon"), "klingon"),
    (dict(keep="melody"), "score"), (dict(bars="2"), "score"), (dict(strength=0.5), "score"),
    (dict(score="no.mid"), "no.mid"), (dict(score=tune(), keep="drums"), "drums"),
    (dict(score=tune(), bars="0-2"), "bars"), (dict(score=tune(), bars="7-99"), "bars"),
    (dict(score=tune(), bars=[(4, 2)]), "bars"), (dict(score=tune(), strength=2), "strength"),
    (dict(score=tune(), tempo=100), "tempo"), (dict(seed=-(2**70)), "seed"), (dict(batch=0), "batch"),
])
def test_refused(m, wrong, words):
    with pytest.raises(InputError, match=words): compose(m, **{"seconds": 8, **wrong})


@many
@given(st.text(max_size=12))
def test_no_text_is_a_bug(text):
    for read in (parse_chord, parse_chords, parse_key, lambda t: parse_form(t, 16)):
        try: read(text)
        except InputError: pass


@many
@given(st.lists(st.sampled_from(["A", "B", "C4", "verse", "chorus8", "intro", "outro2"]), min_size=1,
                max_size=9), st.integers(1, 200))
def test_a_form_has_its_bars(words, bars):
    try: form = parse_form(" ".join(words), bars)
    except InputError: return
    assert len(form.letters) == len(form.begins) == len(form.busy) == bars


@many
@given(st.lists(st.tuples(st.integers(0, 62), st.integers(1, 20), st.integers(21, 108), st.integers(1, 127),
                          st.integers(0, 2)), min_size=1, max_size=30),
       st.lists(st.floats(0.2, 1.5), min_size=16, max_size=16))
def test_there_and_back(rows, beats):
    notes = {(on, pitch, role): (on, min(on + n, 64), pitch, v, role) for on, n, pitch, v, role in rows}
    sheet = Sheet(one_key(np.array(sorted(notes.values()))), sixteenth_times(np.cumsum(beats)),
                  np.arange(0, 65, 16))
    back = load_sheet(to_midi(sheet))
    assert np.array_equal(back.notes, sheet.notes)


def test_names_of_chords():
    for root in range(12):
        for quality in QUALITIES:
            chord = parse_chord(f"{'C Db D Eb E F Gb G Ab A Bb B'.split()[root]}:{quality}")
            assert parse_chord(chord_name(chord))[::2] == chord[::2]


def test_a_model_that_cannot_compose_says_so(model):
    with pytest.raises(InputError, match="planner|composer"): model.compose(4, progress=False)
