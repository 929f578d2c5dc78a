"""Composing at any length, tempo, key, form and from any score: properties that drawn cases must have."""
import io
from collections import Counter

import numpy as np
import pretty_midi
import pytest
import torch
from hypothesis import given, settings, strategies as st

import msanii.compose  # it gives Msanii its method
from msanii.audio import InputError
from msanii.bits import BitUNet
from msanii.chords import (QUALITIES, SPELLINGS, chord_name, chord_rows, nearest_chords, parse_chord,
                           parse_chords)
from msanii.compose import Piece, _bars_of, blank_sheet, hear_chords, parse_form, set_lyrics, syllables
from msanii.pipeline import Msanii
from msanii.plan import NOTES, PLAN
from msanii.score import NAMES as NOTE_NAMES, ROLES, parse_key
from msanii.sheet import Sheet, load_sheet, one_key, sixteenth_times, to_midi

pytestmark = pytest.mark.usefixtures("one_thread")  # another number of threads, another sum
few = settings(max_examples=8, deadline=None, derandomize=True, database=None)
many = settings(max_examples=200, deadline=None, derandomize=True, database=None)
seeds, meters, tempi = st.integers(0, 2**62), st.sampled_from((3, 4)), st.floats(20, 300)
roots = [letter + sign for letter in "CDEFGAB" for sign in ("", "#", "b")]
symbols = st.builds(lambda root, quality, bass: f"{root}:{quality}{bass}", st.sampled_from(roots),
                    st.sampled_from(sorted(SPELLINGS)), st.sampled_from(["", *(f"/{r}" for r in roots)]))


@pytest.fixture(scope="module")
def m(small_model):
    "Its networks have learned nothing, but expect enough notes that there is something to compare."
    how = dict(width=16, levels=2, blocks=1, attention=1, heads=4, expansion=2, join=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        planner = BitUNet(d_freq=171, d_cond=PLAN.rows, **how).expect(np.full((1, 171), 0.5))
        composer = BitUNet(d_freq=264, d_cond=NOTES.rows, channels=2, **how).expect(np.full((2, 264), 0.03))
    small = small_model()
    return Msanii(small.unet, small.vocoder, small.mel, small.settings, planner=planner, composer=composer)


def compose(m, *args, **kwargs): return m.compose(*args, **{"steps": 2, "progress": False, **kwargs})


def table(score, role=None):
    "All notes of a score, each as a tuple; or those of a track."
    return Counter((i.name, n.start, n.end, n.pitch, n.velocity) for i in score.instruments
                   for n in i.notes if role in (None, i.name))


def saved(score):
    "A score as it is read from a file."
    file = io.BytesIO()
    score.write(file)
    return pretty_midi.PrettyMIDI(io.BytesIO(file.getvalue()))


def track(name, *notes, drum=False):
    instrument = pretty_midi.Instrument(0, drum, name)
    instrument.notes = [pretty_midi.Note(v, pitch, start, end) for pitch, start, end, v in notes]
    return instrument


def score_of(*tracks, tempo=120.0, sign=None):
    score = pretty_midi.PrettyMIDI(initial_tempo=tempo)
    score.instruments = list(tracks)
    if sign: score.time_signature_changes.append(pretty_midi.TimeSignature(*sign, 0.0))
    return score


def steady(n, step=0.5, name="MELODY", pitch=60):
    "Equal notes, one after the other."
    return track(name, *[(pitch + i % 5, i * step, (i + 0.9) * step, 60 + i % 40) for i in range(n)])


@st.composite
def scores(draw):
    "Eight seconds and more in which roles, drums and other tracks play, on the grid or beside it."
    notes = st.lists(st.tuples(st.integers(10, 120), st.floats(0, 7), st.floats(0, 4), st.integers(1, 127)),
                     max_size=12)
    names = draw(st.lists(st.sampled_from([*ROLES, "", "Strings"]), min_size=1, max_size=4))
    tracks = [track(name, *[(p, a, a + n, v) for p, a, n, v in draw(notes)]) for name in names]
    tracks.append(track("DRUMS", (36, 0.0, 0.1, 90), (38, 8.3, 8.4, 80), drum=True))
    return score_of(*tracks, tempo=draw(st.sampled_from([60.0, 97.0, 120.0, 240.0])),
                    sign=draw(st.sampled_from([None, (4, 4), (3, 4), (2, 4), (5, 4), (6, 8), (7, 8)])))


# One piece, and many

@few
@given(seeds, st.floats(0.5, 30), tempi, meters, st.floats(0.25, 4), st.floats(0, 1))
def test_seed_batch_and_length(m, seed, seconds, tempo, meter, density, variation):
    how = dict(tempo=tempo, meter=meter, density=density, variation=variation)
    one, again = (compose(m, seconds, seed, **how) for _ in range(2))
    assert table(one) == table(again)
    items = compose(m, seconds, [seed, 7], batch=2, **how)
    assert table(items[0]) == table(one) and table(items[1]) == table(compose(m, seconds, 7, **how))
    bars = int(np.ceil(seconds * tempo / 60 / meter - 1e-6))
    assert one.get_end_time() <= bars * meter * 60 / tempo + 1e-3
    assert [s.numerator for s in one.time_signature_changes] == [meter]
    assert one.get_tempo_changes()[1].tolist() == pytest.approx([tempo], rel=1e-4)


def test_other_seeds_make_other_pieces(m):
    pieces = compose(m, 8, 5, batch=4, tempo=120, key="C", form="", meter=4)
    assert len({frozenset(table(p)) for p in pieces}) == 4


@few
@given(st.integers(1, 120), meters, st.sampled_from([20, 90, 300]), seeds)
def test_any_number_of_bars_through_small_windows(m, bars, meter, tempo, seed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(msanii.compose, "SHEET_WINDOW", 64)
        patch.setattr(msanii.compose, "PLAN_WINDOW", 8)
        made = compose(m, min(bars * meter * 60 / tempo, 3600), seed, meter=meter, tempo=tempo, steps=1)
    times = [n.start for i in made.instruments for n in i.notes]
    assert times and max(times) < bars * meter * 60 / tempo


def test_ten_minutes(m):
    made = compose(m, 600, tempo=120, steps=1)
    assert 590 < made.get_end_time() <= 601


@few
@given(st.lists(symbols, min_size=1, max_size=6), meters, st.integers(0, 2))
def test_chords_come_back(m, given_chords, meter, seed):
    made, wanted = compose(m, 8, seed, chords=given_chords, meter=meter), parse_chords(given_chords, meter)
    beats = made.get_tempo_changes()[1][0] / 60
    assert made.text_events
    for text in made.text_events:
        chord, beat = parse_chord(text.text), round(text.time * beats)
        assert (chord.pitches, chord.bass) == wanted[beat % len(wanted)][::2]


@many
@given(symbols)
def test_a_chord_and_its_name(symbol):
    chord = parse_chord(symbol)
    assert parse_chord(chord_name(chord)) == chord


@pytest.mark.parametrize("quality", QUALITIES)
def test_of_equal_rows_the_name_whose_root_is_the_bass(quality):
    "Bb:7 has the notes and the bass of D:dim/Bb."
    symbols = [f"{root}:{quality}" for root in NOTE_NAMES]
    assert [chord_name(c) for c in nearest_chords(np.stack([chord_rows(s) for s in symbols]))] == symbols


@many
@given(st.sampled_from(NOTE_NAMES), st.sampled_from(list(QUALITIES)), st.sampled_from(NOTE_NAMES))
def test_rows_come_back(root, quality, bass):
    chord = parse_chord(f"{root}:{quality}/{bass}")
    assert nearest_chords(chord_rows(chord)[None])[0][::2] == chord[::2]


@few
@given(seeds, st.lists(st.sampled_from("ABC"), min_size=2, max_size=5), st.sampled_from([1, 2, 4]), meters)
def test_equal_letters_equal_bars(m, seed, letters, length, meter):
    form = " ".join(f"{letter}{length}" for letter in letters)
    seconds = len(letters) * length * meter * 0.5
    made = compose(m, seconds, seed, form=form, tempo=120, meter=meter, variation=0, density=1.5)
    section, parts = length * meter * 0.5, {}
    for i, letter in enumerate(letters):
        strokes = sorted(
            (t.name, round((n.start - i * section) * 8), n.pitch, n.velocity)
            for t in made.instruments for n in t.notes if i <= n.start / section + 1e-6 < i + 1
        )  # not the ends: what goes on into another section may stop there
        assert parts.setdefault(letter, strokes) == strokes


@few
@given(seeds, st.lists(st.sampled_from(["love", "river", "remember", "I", "fire"]), min_size=1, max_size=9))
def test_the_melody_strikes_where_it_sings(m, seed, line):
    made = compose(m, 40, seed, lyrics=" ".join(line) + "\n" + " ".join(line[::-1]), tempo=100)
    sung, onsets = ([round(e, 3) for e in times] for times in (
        [text.time for text in made.lyrics], [n.start for n in made.instruments[0].notes]))
    assert sorted(set(sung)) == sung
    assert sorted(t for t in onsets if t <= sung[-1]) == sung


# From a score

@few
@given(scores(), st.sets(st.sampled_from(ROLES), min_size=1), seeds)
def test_kept_roles_and_drums(m, score, keep, seed):
    before = table(score)
    made = compose(m, score=score, seed=seed, keep=[role.lower() for role in sorted(keep)])
    alone = len(score.instruments) == 2 and "MELODY" in keep  # one track beside the drums: it is the melody
    for name in ("DRUMS", *keep) if not alone else ():
        if any(i.name == name for i in score.instruments): assert table(made, name) == table(score, name)
    if alone or "PIANO" in keep:
        for name in ("", "Strings"): assert not table(score, name) - table(made, name)
    assert table(score) == before  # what was given is as it was


@few
@given(scores(), st.data(), seeds)
def test_bars_outside_stay(m, score, data, seed):
    sheet = load_sheet(score)
    count = len(sheet.lines) - 1
    first, last = sorted(data.draw(st.tuples(st.integers(1, count), st.integers(1, count))))
    a, b = sheet.times[sheet.lines[first - 1]], sheet.times[sheet.lines[last]]
    near = (sheet.times[1] - sheet.times[0]) * 0.51  # a stroke belongs to the nearest sixteenth
    made = compose(m, score=score, bars=f"{first}-{last}", seed=seed)
    outside = lambda s: Counter({n: k for n, k in table(s).items()
                                 if n[0] == "DRUMS" or not a - near <= n[1] <= b + near})
    assert outside(made) == outside(score)


@few
@given(scores(), seeds)
def test_a_song_goes_on(m, score, seed):
    made = compose(m, 30, score=score, seed=seed)
    assert not table(score) - table(made)
    assert max(n.start for i in made.instruments for n in i.notes) > score.get_end_time()


@few
@given(scores(), st.floats(0, 1), st.sampled_from([None, "AB", "A A"]), seeds)
def test_a_score_of_any_kind_is_varied(m, score, strength, form, seed):
    if len(load_sheet(score).lines) < 3: form = None  # one bar
    how = dict(score=score, strength=strength, seed=seed, form=form)
    made = compose(m, **how)
    assert table(made) == table(compose(m, **how))
    assert table(made, "DRUMS") == table(score, "DRUMS")


def with_changes():
    "A file whose tempo and time signature change, and that begins with a pickup of one beat."
    times = sixteenth_times(np.cumsum([0.5] * 9 + [0.8] * 8))
    notes = np.array([[4 * i, 4 * i + 3, 60 + i, 80, i % 3] for i in range(17)])
    return to_midi(Sheet(notes, times, np.array([0, 4, 20, 36, 52, 68])))


SHAPES = {
    "one track without a name": lambda: score_of(steady(12, name="")),
    "one note": lambda: score_of(track("MELODY", (60, 0.0, 0.5, 90))),
    "a note without length": lambda: score_of(track("MELODY", (60, 0.0, 0.0, 90), (62, 0.2, 0.9, 90))),
    "beyond the keys": lambda: score_of(track("MELODY", (2, 0.0, 0.5, 90), (125, 1.0, 2.5, 90))),
    "in three": lambda: score_of(steady(24), sign=(3, 4)),
    "tempo and pickup": with_changes,
    "twice the same track": lambda: score_of(steady(8), steady(8, pitch=70)),
    "late": lambda: score_of(track("MELODY", (60, 60.0, 61.0, 90))),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_strange_scores(m, shape):
    score = SHAPES[shape]()
    whole = table(score) if shape != "tempo and pickup" else table(score, "MELODY")
    for how in (dict(keep="melody"), dict(seconds=80), dict(bars=1), dict(strength=0.3), dict(form="A")):
        made = compose(m, score=score, **how)
        if "keep" in how: assert not whole - table(made)
        if "seconds" in how: assert not table(score) - table(made) and made.get_end_time() > 70


def test_new_notes_follow_a_changing_tempo(m):
    score = with_changes()
    times = load_sheet(score).times
    made = compose(m, score=score, keep="melody")
    for note in made.instruments[2].notes: assert np.abs(times - note.start).min() < 2e-3


def test_drums_alone(m):
    score = score_of(track("Kit", (36, 0.0, 0.1, 90), (38, 3.0, 3.2, 90), drum=True))
    for how in (dict(), dict(keep="melody"), dict(seconds=12)):
        made = compose(m, score=score, **how)
        assert not table(score) - table(made) and len(made.instruments) > 1


@pytest.mark.parametrize("how", [dict(keep="melody"), dict(seconds=8)])
def test_a_last_stroke_stays(m, how):
    score = score_of(track("MELODY", (60, 0.0, 0.5, 90), (62, 0.98, 1.0, 90)))
    assert not table(score) - table(compose(m, score=score, **how))


def test_strength_0_is_the_score(m):
    score = score_of(steady(32))
    made, chords = compose(m, score=score, strength=0), hear_chords(load_sheet(score))
    strokes = lambda s: {(round(n.start, 3), n.pitch) for i in s.instruments for n in i.notes}
    assert strokes(made) == strokes(score)
    assert all(parse_chord(t.text) == chords[round(2 * t.time)] for t in made.text_events)


@pytest.mark.parametrize("how, new", [(dict(seconds=16), slice(4, 8)), (dict(bars="3-4"), slice(2, 4))],
                         ids=["goes on", "bars"])
def test_a_new_melody_is_not_told(m, monkeypatch, how, new):
    told, inner = [], m.planner.forward
    monkeypatch.setattr(m.planner, "forward", lambda x, t, cond: (told.append(cond), inner(x, t, cond))[1])
    compose(m, score=score_of(steady(16)), **how)
    row = PLAN.places["tune"].stop  # says where the field is shown
    assert not told[0][0, 0, row, new].any()


def test_a_song_goes_on_in_its_bars(m):
    made = compose(m, 16, score=score_of(track("MELODY", (60, 0.0, 7.4, 90))))  # its last beat is a rest
    assert [s.numerator for s in made.time_signature_changes] == [4]


@pytest.mark.parametrize("bars", [1, 2])
def test_few_bars_of_three(m, bars):
    score = score_of(track("MELODY", (60, 0.0, 1.5 * bars, 90)), sign=(3, 4))
    assert load_sheet(score).meter == 3
    assert [s.numerator for s in compose(m, 12, score=score).time_signature_changes] == [3]


def test_words_over_a_short_bar(m):
    score = score_of(track("MELODY", (60, 0.0, 1.0, 90)))
    try: compose(m, score=score, lyrics="one two three four five six")
    except InputError as error: assert "lyrics" in str(error)


def test_words_over_a_pickup():
    at = [t for t, _, _ in set_lyrics("one two three\nfour five six", load_sheet(with_changes()))]
    assert at == sorted(set(at))


def test_held_notes_stay_in_the_file(m):
    held = score_of(track("MELODY", *[(pitch, 0.0, 16.0, 90) for pitch in range(21, 109)]))
    made = saved(compose(m, score=held, bars="3-6"))
    assert {n.pitch for n in made.instruments[0].notes if n.end - n.start > 15.9} == set(range(21, 109))


# Grids and texts

@settings(many, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 60), st.integers(0, 127), st.integers(1, 127),
                          st.integers(0, 2)), max_size=25),
       st.lists(st.integers(200_000, 3_000_000), min_size=19, max_size=19), meters, st.integers(0, 3),
       st.lists(symbols, max_size=17), st.integers(0, 11), st.booleans())
def test_sheets_there_and_back(rows, beats, meter, pickup, chords, tonic, minor):
    beats = beats[: 4 * meter + min(pickup, meter - 1)]
    length, first = 4 * len(beats), 4 * min(pickup, meter - 1)
    rows = [*rows, (length - 4, 4, 0, 1, 2)]  # something sounds to the end
    notes = {(a, p, r): (a, min(a + n, length), p, v, r) for a, n, p, v, r in rows if a < length}
    lines = np.array([0] * (first > 0) + [*range(first, length + 1, 4 * meter)])
    chords = [parse_chord(chords[i % len(chords)]) for i in range(len(beats))] if chords else []
    sheet = Sheet(one_key(np.array(sorted(notes.values()))),
                  sixteenth_times(np.cumsum([0, *beats]) / 1e6)[:-4], lines, meter, chords, tonic, minor)
    back = load_sheet(saved(to_midi(sheet)))
    assert np.array_equal(back.notes, sheet.notes) and np.array_equal(back.lines, sheet.lines)
    assert (back.meter, back.tonic, back.minor, back.chords) == (meter, tonic, minor, chords)
    assert np.abs(back.times - sheet.times).max() < 1e-4


chordish = st.text("ABCDEFGHabm#♭♯b:/7913sus24dimaj()+-°øΔ NX|%.,;²٣ \n", max_size=9)


@many
@given(st.one_of(st.text(max_size=20), chordish), st.integers(1, 64))
def test_texts_are_read_or_refused(text, bars):
    for read in (parse_chord, parse_chords, parse_key, lambda t: hash(_bars_of(t, bars).tobytes()),
                 lambda t: set_lyrics(t, blank_sheet(bars))):
        try: read(text)
        except InputError: pass


@many
@given(st.one_of(st.text(max_size=20), st.text("AABC'0123 vers-|,", max_size=12),
                 st.lists(st.sampled_from(["A", "B'", "C4", "verse", "Chorus8", "intro", "outro2", "A0"]),
                          min_size=1, max_size=12).map(" ".join)), st.integers(1, 300))
def test_forms_have_their_bars(text, bars):
    try: form = parse_form(text, bars)
    except InputError: return
    assert len(form.letters) == len(form.begins) == len(form.busy) == bars and form.begins[0]
    assert [first for first, _ in form.names] == np.flatnonzero(form.begins).tolist()


@many
@given(st.integers(1, 40), st.data())
def test_bars_are_those_named(count, data):
    pair = st.tuples(st.integers(1, count), st.integers(1, count)).map(sorted)
    pairs = data.draw(st.lists(pair, min_size=1, max_size=3))
    wanted = np.any([[a <= bar <= b for bar in range(1, count + 1)] for a, b in pairs], axis=0)
    assert np.array_equal(_bars_of(pairs, count), wanted)
    a, b = pairs[0]
    for one in (f"{a}-{b}", f" {a} - {b} ", (a, b), [(a, b)], [f"{a}-{b}"]):
        assert np.flatnonzero(_bars_of(one, count)).tolist() == list(range(a - 1, b))


@many
@given(st.lists(st.lists(st.sampled_from("oh remember the beautiful fire of yesterday W".split()), min_size=1,
                         max_size=30), min_size=1, max_size=5), meters)
def test_syllables_have_their_places(lines, meter):
    sheet = blank_sheet(60, meter)
    placed = set_lyrics("\n".join(map(" ".join, lines)), sheet)
    at, _, lengths = zip(*placed)
    assert all(a + n <= b for a, n, b in zip(at, lengths, [*at[1:], len(sheet)])) and min(lengths) > 0


def test_no_syllable_is_empty(): assert all(text for text, _ in syllables("W"))


@pytest.mark.parametrize("read, text", [
    (parse_chord, "C/" + "9" * 5000), (lambda t: parse_form(t, 8), "A" + "9" * 5000),
    (lambda t: parse_form(t, 8), "A" + "9" * 17)], ids=["chord", "form", "bars"])
def test_huge_numbers(read, text):
    with pytest.raises(InputError): read(text)


SONG = score_of(steady(16))
WRONG = {
    "seconds": [0, 0.4, 3601, np.nan, np.inf, -1, "long", True], "tempo": [19, 301, np.nan, "fast"],
    "meter": [2, 5, "4", None], "density": [0, 5, None, np.nan], "variation": [-0.1, 1.1, None],
    "steps": [0, 2.5, "many"], "key": ["H", "C lydian", "", 5], "form": ["A?", "(A)", 5, "ABCDEFGHABCDEFGH"],
    "chords": ["", "H", "C:foo", "C | C C C C C", "C/0", []], "lyrics": ["", "...", "la " * 300],
    "seed": [1.5, "x", None, 2**63, [1, 2]], "batch": [0, 1.5, "2"]}
ABOUT = {"keep": ["drums", "", [], "melody bass"], "strength": [-0.1, 2, "much", np.nan], "tempo": [100],
         "bars": ["", "0", "3-2", "1-99", "two", (0, 1), [(1, 99)], (np.nan, 1)]}


@pytest.mark.parametrize("name, value", [(k, v) for k, values in WRONG.items() for v in values])
def test_wrong_inputs_are_named(m, name, value):
    with pytest.raises(InputError, match=name): compose(m, **{"seconds": 4, name: value})


@pytest.mark.parametrize("name, value", [(k, v) for k, values in ABOUT.items() for v in values])
def test_wrong_inputs_beside_a_score_are_named(m, name, value):
    with pytest.raises(InputError, match=name): compose(m, score=SONG, **{name: value})


@pytest.mark.parametrize("name", ["keep", "bars", "strength"])
def test_without_a_score_there_is_nothing_of_it(m, name):
    with pytest.raises(InputError, match=name): compose(m, 4, **{name: "9-16"})


@pytest.mark.parametrize("name, value", [
    ("bars", 3.5), ("bars", [(1, np.inf)]), ("bars", np.nan), ("keep", 5), ("chords", 5)])
def test_wrong_kinds_are_named(m, name, value):
    with pytest.raises(InputError, match=name): compose(m, score=SONG, **{name: value})


@pytest.mark.parametrize("how", [np.int64(2), ["1-2", "4-4"], [(1, 2), (4,)]], ids=str)
def test_other_ways_to_say_bars(m, how): compose(m, score=SONG, bars=how)


def test_a_meter_of_3_0(m): assert table(compose(m, 4, meter=3.0)) == table(compose(m, 4, meter=3))


def test_a_form_for_one_bar(m):
    with pytest.raises(InputError, match="form"): compose(m, 1, tempo=60, form="!!")


def test_a_sheet_of_more_ticks_than_are_read():
    sixteenths = 4 * 21_000  # of beats: seventy minutes at 300 a minute
    notes = np.array([[sixteenths - 1, sixteenths, 60, 90, 0]])
    try: to_midi(Sheet(notes, np.arange(sixteenths + 1) * 0.05, np.arange(0, sixteenths + 1, 16)))
    except InputError: pass


@pytest.mark.parametrize("part", ["planner", "composer"])
def test_a_part_is_missing(m, part):
    with pytest.raises(InputError, match=part):
        compose(Msanii.__new__(Msanii)._hold({k: v for k, v in m.parts.items() if k != part}, m.settings), 4)


def test_what_comes_again_is_varied(m):
    how = dict(tempo=120, form="A4 B4 A4 A4", seed=1, steps=8)
    same, varied = (load_sheet(compose(m, 32, variation=v, **how)).notes for v in (0, 1))
    first = lambda notes: notes[notes[:, 0] < 64][:, [0, 2, 4]].tolist()
    assert first(same) == first(varied) and not np.array_equal(same, varied)


def test_a_tune_is_told_as_a_whole_or_not_at_all(m, monkeypatch):
    told, inner = [], m.planner.forward
    monkeypatch.setattr(m.planner, "forward", lambda x, t, cond: (told.append(cond), inner(x, t, cond))[1])
    score = score_of(steady(16))
    made = compose(m, 16, score=score, keep="melody", density=2)
    assert not table(score) - table(made)
    row = PLAN.places["tune"].stop  # says where the field is shown
    shown = [cond[0, 0, row] for cond in told]
    assert {(len(s), float(s.mean())) for s in shown} == {(4, 1.0), (8, 0.0)}


def test_a_kept_piano_has_its_chords(m):
    chords = {0: (36, 52, 55), 2: (45, 60, 64), 4: (41, 57, 60), 6: (43, 59, 62)}  # C, Am, F, G
    triads = [(pitch, float(t), t + 2.0, 80) for t, pitches in chords.items() for pitch in pitches]
    score = score_of(track("PIANO", *triads), steady(16))
    for how in (dict(), dict(seconds=16)):
        made = compose(m, score=score, keep="piano", **how)
        found = {round(t.time): parse_chord(t.text).root for t in made.text_events if t.time < 7.9}
        assert found == {0: 0, 2: 9, 4: 5, 6: 7}


def test_the_first_bars_of_a_piece_are_one():
    piece = Piece(blank_sheet(8), form=parse_form("AABA", 8), chords=parse_chords("C G Am F | C"))
    first = piece.first(3)
    assert len(first.sheet) == 48 and len(first.sheet.lines) == 4 and first.struck.shape == (3, 48)
    assert first.form.letters.tolist() == piece.form.letters[:3].tolist()
