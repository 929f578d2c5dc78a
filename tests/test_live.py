"""Music that is steered while it sounds: no gap between two bars, and a change is heard in the next."""
import json
from collections import Counter

import mido
import numpy as np
import pretty_midi
import pytest
import torch
from hypothesis import given, settings, strategies as st
from safetensors.torch import save_file

import msanii.live  # it gives Msanii its method
from msanii.audio import InputError
from msanii.bits import BitUNet
from msanii.chords import parse_chord
from msanii.live import LAG, PAST, Tape, played_in
from msanii.pipeline import Msanii
from msanii.plan import NOTES, PLAN
from msanii.score import program_of

pytestmark = pytest.mark.usefixtures("one_thread")  # another number of threads, another sum
few = settings(max_examples=6, deadline=None, derandomize=True, database=None)
meters, tempi = st.sampled_from((3, 4)), st.floats(40, 300)


def composer(small):
    "A model that composes a few notes anywhere and plays them, since it has learned nothing."
    how = dict(width=16, levels=2, blocks=1, attention=1, heads=4, expansion=2, join=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        planner = BitUNet(d_freq=171, d_cond=PLAN.rows, **how).expect(np.full((1, 171), 0.5))
        composer = BitUNet(d_freq=264, d_cond=NOTES.rows, channels=2, **how).expect(np.full((2, 264), 0.03))
    return Msanii(small.unet, small.vocoder, small.mel, small.settings, planner=planner, composer=composer)


@pytest.fixture(scope="module")
def m(small_model): return composer(small_model())


@pytest.fixture(scope="module")
def package(): return Msanii.from_pretrained(device="cpu")


def session(m, **how): return m.live(**{"steps": 2, "passes": 1, "tempo": 150, **how})


def notes(bars, *names):
    "The notes of a score, each as a tuple; of tracks of these names alone, if there are any."
    return sorted((n.start, n.end, n.pitch, n.velocity, t.name) for t in bars.score.instruments
                  for n in t.notes if not names or t.name in names)


# A bar after a bar

@few
@given(st.integers(0, 2**62), meters, tempi)
def test_bars_are_exact_and_one_by_one_is_all_at_once(m, seed, meter, tempo):
    how = dict(seed=seed, meter=meter, tempo=tempo)
    one, all_ = session(m, **how), session(m, **how).next(7)
    made = [one.next() for _ in range(7)]
    ends = np.cumsum([bars.sound.shape[-1] for bars in made])
    line = meter * 60 / tempo
    assert ends.tolist() == [round((i + 1) * line * 44_100) for i in range(7)]
    assert torch.equal(torch.cat([bars.sound for bars in made], 1), all_.sound)
    assert all_.sound.abs().max() <= 1 and not all_.sound[:, :LAG].any()
    again = [(bars.seconds + a, p) for bars in made for a, _, p, _, _ in notes(bars)]
    assert np.allclose(again, [(a, p) for a, _, p, _, _ in notes(all_)])
    assert [bars.number for bars in made] == list(range(7)) and made[3].seconds == pytest.approx(3 * line)


def test_other_seeds_make_other_music(m):
    made = [session(m, seed=seed, chords="C", tempo=120).next(2) for seed in range(3)]
    assert len({tuple(notes(bars)) for bars in made}) == 3
    assert not torch.equal(made[0].sound, made[1].sound)


def test_it_holds_a_window(m, tmp_path):
    "However long it plays."
    live, sizes = session(m, chords="C F"), []
    for _ in range(4):
        live.next(PAST)
        live.save(tmp_path / "state")
        tape = live.tape
        sizes.append([x.numel() for x in (tape.clean, tape.played, tape.sound)])
        assert len(live.bars) == PAST and len(live.chords) <= 4 * (PAST + 10)
        assert live.notes[:, 0].min() >= 0 and live.notes[:, 0].max() < 16 * (PAST + 10)
        assert (tmp_path / "state").stat().st_size < 4e6
    assert max(map(sum, sizes)) - min(map(sum, sizes)) <= 2 * 2 * 1024


def bend(x, at):
    d = x.diff(n=2, dim=-1).abs().amax(0)
    return (d[at - 3 : at + 2].max() / d[at - 2205 : at + 2205].median()).item()


@pytest.mark.parametrize("how", [{}, dict(band=True), dict(density=2, instruments="piano=church organ")],
                         ids=["piano", "band", "organ"])
def test_no_joint_is_seen(package, how):
    """The wave bends no sharper where chunks, windows and crossfades meet than anywhere; bars that are made
    alone and pasted are torn apart."""
    live, tempo = package.live(seed=5, tempo=110, chords="C G Am F", **how), 110
    x = live.next(7).sound
    lines = [round(i * 240 / tempo * 44_100) for i in range(1, 7)]
    ends = [(at // 1024 - 1) * 1024 + LAG for at in lines]
    others = np.random.default_rng(0).integers(22_050, x.shape[-1] - 22_050, 200).tolist()
    usual = np.quantile([bend(x, at) for at in others], 0.95)
    for places in (lines, ends, [at - msanii.live.FADE for at in ends]):
        found = [bend(x, at) for at in places]
        assert np.median(found) < usual and max(found) < 3 * usual
    if how: return
    alone, torn = package.live(seed=5, tempo=110, chords="C G Am F"), []
    for _ in range(4):
        torn.append(alone.next().sound)
        alone.tape, given = Tape(package), alone.tape.given  # it has heard nothing
        alone.tape.given, alone.tape.first = given, given // 1024 - 8
    torn, lines = torch.cat(torn, 1), lines[:3]
    assert max(bend(torn, at) for at in lines) > 3 * usual


# What changes

def test_a_change_is_heard_in_the_next_bar(package):
    live = package.live(seed=1, tempo=120, chords="C G Am F", passes=0)
    assert [e.text for e in live.next(2).score.text_events] == ["C:maj", "G:maj"]
    for chords, labels in (("Bb Eb", ["Bb:maj", "Eb:maj"]), ("Ebm7 | Ab7 Db", ["Eb:min7", "Ab:7", "Db:maj"])):
        live.change(chords=chords)
        bars = live.next(2)
        assert [e.text for e in bars.score.text_events] == labels
        at = [(e.time, parse_chord(e.text).pitches) for e in bars.score.text_events]
        fits = [n[2] % 12 in [p for t, p in at if t <= n[0] + 1e-3][-1] for n in notes(bars)]
        assert np.mean(fits) > 0.7


def test_a_chord_is_in_the_sound(package):
    "Of the bar after the change, and not of the bar before it."
    from msanii.mel import magnitude
    live = package.live(seed=1, tempo=100, chords="C")
    before = live.next(2).sound[:, -105_840:]
    live.change(chords="F#")
    after = live.next().sound[:, 52_920:]  # what was let go at the line has died away
    hertz = torch.arange(1025) * 44_100 / 2048
    classes = (12 * torch.log2(hertz.clamp(min=60) / 440)).round().long().add(9) % 12
    low = (hertz > 120) & (hertz < 1500)
    def share(x, pitches):
        power = magnitude(x).square().mean((0, 2)) * low
        return (sum(power[classes == p].sum() for p in pitches) / power.sum()).item()
    C, F_sharp = (0, 4, 7), (6, 10, 1)
    assert share(before, C) > 1.5 * share(before, F_sharp) and share(after, F_sharp) > 1.5 * share(after, C)


def test_tempo_changes_at_a_bar_line(m):
    live, lengths = session(m, tempo=120, meter=3), []
    for tempo in (120, 97.3, 201, 60):
        live.change(tempo=tempo)
        lengths += [(180 / tempo, live.next().sound.shape[-1]) for _ in range(3)]
    ends = np.cumsum(lengths, 0)
    assert np.abs(np.rint(ends[:, 0] * 44_100) - ends[:, 1]).max() <= 1


def test_density(package):
    live, counts = package.live(seed=3, tempo=120, chords="C G Am F", passes=0), []
    for density in (0.5, 1, 2):
        live.change(density=density)
        counts.append(len(notes(live.next(4))))
    assert 1.2 * counts[0] < counts[1] and 1.2 * counts[1] < counts[2]


def test_who_plays(m):
    live = session(m, chords="C")
    assert {t.program for t in live.next(2).score.instruments} == {0}
    live.change(instruments="melody=flute, piano=church organ")
    who = {t.name: t.program for t in live.next(2).score.instruments}
    assert who["MELODY"] == program_of("flute") and who["PIANO"] == program_of("church organ")
    live.change(band=True)
    bars = live.next(8)
    who = {t.name: t.program for t in bars.score.instruments}
    assert who["MELODY"] == program_of("flute") and {"BASS", "DRUMS"} <= set(who)
    assert all(n[2] % 12 in (0, 7) for n in notes(bars, "BASS")[:1])
    live.change(band=False)
    assert not {"BASS", "DRUMS"} & {t.name for t in live.next(2).score.instruments}


def test_the_fill_comes_every_eighth_bar(m):
    live = session(m, band=True)
    count = [len(notes(live.next(), "DRUMS")) for _ in range(16)]
    assert count[:8] == count[8:] and count[7] != count[6] == count[5]


def test_key(package):
    live = package.live(seed=2, key="C", tempo=140, passes=0)
    live.next(4)
    live.change(key="Gb")
    live.next(1)
    pitches = Counter(n[2] % 12 for n in notes(live.next(7)))
    inside = sum(pitches[p] for p in (6, 8, 10, 11, 1, 3, 5))
    assert inside > 0.8 * sum(pitches.values())


def test_a_held_note_ends_where_the_chord_changes(m):
    live = session(m, chords="C", tempo=120)
    live.next(2)
    live.change(chords="F#")
    live.next(1)
    line = (len(live.bars) - 1) * 16
    early = live.notes[live.notes[:, 0] < line]
    assert len(early) and early[:, 1].max() <= line


def test_again(package):
    live = session(package, seed=4, chords="C G Am F", passes=0)
    live.next(2)
    old = live.next(4)
    new = live.again(4).next(4)
    both = [[(round(a, 6), p, who) for a, _, p, _, who in notes(bars)] for bars in (old, new)]
    assert both[0] == both[1]
    varied = live.again(4, variation=1).next(4)
    assert [(round(a, 6), p, who) for a, _, p, _, who in notes(varied)] != both[0]
    assert [e.text for e in varied.score.text_events] == [e.text for e in old.score.text_events]


def test_something_new(m):
    "It depends on nothing that was played, and its first bar is no rest."
    lives = [session(m, seed=4, chords=chords, density=density) for chords, density in (("C", 1), ("F#", 3))]
    for live in lives:
        live.next(3)
        live.change(chords="Am", density=1)
        live.something_new()
    a, b = (live.next(3) for live in lives)
    assert notes(a) == notes(b) and notes(a)[0][0] < 60 / 150 * 4


@few
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 6), st.integers(48, 90)),
                min_size=1, max_size=12), st.sampled_from((90, 120, 150)))
def test_a_melody_that_is_played_in(m, tune, tempo):
    "Comes back in the next bars, note by note, on the grid, whoever else plays."
    step = 15 / tempo
    score = pretty_midi.PrettyMIDI(initial_tempo=tempo)
    track = pretty_midi.Instrument(0, name="anything")
    track.notes = [pretty_midi.Note(80, p, a * step, (a + n) * step) for a, n, p in tune]
    score.instruments = [track]
    live = session(m, tempo=tempo)
    live.next(1)
    live.play_in(score)
    bars = live.next(max(a for a, _, _ in tune) // 16 + 1)
    melody = {(round(a / step), p) for a, _, p, _, _ in notes(bars, "MELODY")}
    assert melody == {(a, p) for a, _, p in tune}


def test_messages_of_a_port():
    on = lambda pitch, velocity=70: mido.Message("note_on", note=pitch, velocity=velocity)
    off = lambda pitch: mido.Message("note_off", note=pitch)
    score = played_in([(0.0, on(60)), (0.5, on(60, 0)), (0.5, on(64)), (0.7, mido.Message("control_change")),
                       (1.0, on(67)), (1.5, off(64))], 120)
    assert [(n.pitch, n.start, n.end) for n in score.instruments[0].notes] == [
        (60, 0.0, 0.5), (64, 0.5, 1.5), (67, 1.0, 1.6)]


# Saved, and resumed

def hum(live):
    tune = pretty_midi.PrettyMIDI(initial_tempo=150)
    track = pretty_midi.Instrument(0, name="MELODY")
    track.notes = [pretty_midi.Note(80, 60 + i, 0.4 * i, 0.4 * i + 0.3) for i in range(20)]
    tune.instruments = [track]
    return live.play_in(tune)


DEEDS = {
    "nothing": lambda live: live, "chords": lambda live: live.change(chords="F | Dm7 G7"),
    "band": lambda live: live.change(band=True, instruments=dict(melody="violin")),
    "tempo": lambda live: live.change(tempo=91.7), "again": lambda live: live.again(2),
    "varied": lambda live: live.again(2, 0.5), "new": lambda live: live.something_new(), "tune": hum,
}


@pytest.mark.parametrize("deed", DEEDS)
def test_it_goes_on_to_the_bit(m, tmp_path, deed):
    "Saved before and after the bars that follow a change, in any state."
    live = session(m, seed=9, chords="C Am")
    live.next(3)
    DEEDS[deed](live)
    live.save(tmp_path / "a")
    live.next(2)
    live.save(tmp_path / "b")
    end = live.next(5)
    other = m.live(resume=tmp_path / "a")
    other.next(2)
    for resumed in (other, m.live(resume=tmp_path / "b")):
        bars = resumed.next(5)
        assert torch.equal(bars.sound, end.sound) and notes(bars) == notes(end)
        assert (bars.number, bars.seconds) == (end.number, end.seconds)


def test_what_is_no_session(m, small_model, tmp_path):
    session(m).save(tmp_path / "good")
    (tmp_path / "bad").write_bytes((tmp_path / "good").read_bytes()[:-10])
    save_file({"x": torch.zeros(1)}, tmp_path / "other")
    save_file({"x": torch.zeros(1)}, tmp_path / "json", metadata={"live": json.dumps([1])})
    for name in ("missing", "bad", "other", "json"):
        with pytest.raises(InputError, match=f"{name} is no session"): m.live(resume=tmp_path / name)
    with pytest.raises(InputError, match="another model"):
        composer(small_model(steps=4)).live(resume=tmp_path / "good")


# What cannot be

@pytest.mark.parametrize("change, words", [
    (dict(tempo=5), "tempo is 5"), (dict(chords="H"), "no chord"), (dict(key="H"), "H"),
    (dict(density=0), "density is 0"), (dict(instruments="melody=kazoo"), "no instrument"),
    (dict(meter=3), "'meter' does not change")])
def test_nothing_changes_where_something_cannot_be(m, change, words):
    live, same = session(m, chords="C"), session(m, chords="C")
    with pytest.raises(InputError, match=words): live.change(**{"tempo": 99, **change})
    assert torch.equal(live.next(2).sound, same.next(2).sound)


def test_what_cannot_be(m, model):
    live = session(m)
    with pytest.raises(InputError, match="nothing was played"): live.again()
    live.next(2)
    with pytest.raises(InputError, match="bars is 3"): live.again(3)
    with pytest.raises(InputError, match="variation is 2"): live.again(1, 2)
    with pytest.raises(InputError, match="bars is 0"): live.next(0)
    with pytest.raises(InputError, match="no note"): live.play_in(pretty_midi.PrettyMIDI())
    with pytest.raises(InputError, match="planner"): model.live()
    for how, words in ((dict(meter=5), "meter"), (dict(tempo=1), "tempo"), (dict(steps=0), "steps"),
                       (dict(passes=-1), "steps"), (dict(texture=3), "texture"), (dict(seed="a"), "seed")):
        with pytest.raises(InputError, match=words): session(m, **how)


# A stream of it

def test_stream_via_score(m):
    chunks = list(m.stream(5.3, seed=3, steps=1, via="score"))
    assert sum(chunk.shape[-1] for chunk in chunks) == round(5.3 * 44_100)
    live = m.live(seed=3, passes=1).next(3).sound
    assert torch.equal(torch.cat(chunks, 1), live[:, LAG : LAG + round(5.3 * 44_100)])
    assert torch.equal(next(iter(m.stream(seed=3, steps=1, via="score"))), live[:, LAG:110_250])
    with pytest.raises(InputError, match="via is 'mel'"): m.stream(via="mel")
    with pytest.raises(InputError, match="a score is given"): m.stream(via="score", score=b"")
