"""Loops: whole bars, exact to the sample, and nothing to be heard where the end meets the beginning."""
import json

import numpy as np
import pretty_midi
import pytest
import torch
from hypothesis import given, settings, strategies as st

import msanii.compose  # it gives Msanii its methods
from msanii.app import main
from msanii.audio import InputError, load_audio
from msanii.bits import BitUNet
from msanii.diffusion import Schedule
from msanii.long import loop_places
from msanii.pipeline import Msanii
from msanii.plan import NOTES, PLAN
from msanii.render import LOOP_END, loop_end
from msanii.samplers import Denoiser
from msanii.score import load_score
from msanii.walk import Ring, Walk, Windowed

pytestmark = pytest.mark.usefixtures("one_thread")  # another number of threads, another sum
few = settings(max_examples=8, deadline=None, derandomize=True, database=None)
RATE = 44_100


@pytest.fixture(scope="module")
def m(small_model):
    "It composes a few notes anywhere and plays them, since it has learned nothing."
    how = dict(width=16, levels=2, blocks=1, attention=1, heads=4, expansion=2, join=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        planner = BitUNet(d_freq=171, d_cond=PLAN.rows, **how).expect(np.full((1, 171), 0.5))
        composer = BitUNet(d_freq=264, d_cond=NOTES.rows, channels=2, **how).expect(np.full((2, 264), 0.03))
    small = small_model()
    return Msanii(small.unet, small.vocoder, small.mel, small.settings, planner=planner, composer=composer)


@pytest.fixture(scope="module")
def package(): return Msanii.from_pretrained(device="cpu")


def score_of(*notes, tempo=120.0, signs=()):
    "A score of (pitch, start, end) in beats."
    score, track, beat = pretty_midi.PrettyMIDI(initial_tempo=tempo), pretty_midi.Instrument(0), 60 / tempo
    track.notes = [pretty_midi.Note(80, pitch, a * beat, b * beat) for pitch, a, b in notes]
    score.time_signature_changes = [pretty_midi.TimeSignature(n, d, at * beat) for n, d, at in signs]
    score.instruments = [track]
    return score


# Length

@few
@given(st.integers(1, 9), st.floats(60, 300), st.sampled_from((3, 4)), st.integers(0, 2**62), st.booleans())
def test_whole_bars_exact_to_the_sample(m, bars, tempo, meter, seed, band):
    how = dict(tempo=tempo, meter=meter, band=band, steps=2, progress=False)
    piece = m.compose(bars=bars, seed=seed, loop=True, **how)
    seconds = bars * meter * 60 / tempo
    assert loop_end(piece) == pytest.approx(seconds, abs=1e-9)
    assert piece.get_end_time() <= seconds + 1e-3
    assert m.render(piece, loop=True, steps=1, progress=False).shape == (2, round(seconds * RATE))


def test_a_band_plays_to_the_end(m):
    piece = m.compose(bars=3, tempo=120, loop=True, band=True, steps=1, progress=False)
    drums, = (track for track in piece.instruments if track.is_drum)
    second, last = ([n.start for n in drums.notes if 2 * i <= n.start + 1e-3 < 2 * i + 2] for i in (1, 2))
    assert len(second) == len(last)


@pytest.mark.parametrize("notes, signs, beats", [
    ([(60, 0, 0.5)], [], 4), ([(60, 0, 4)], [], 4), ([(60, 3, 4.1)], [], 4), ([(60, 3, 4.2)], [], 8),
    ([(60, 0, 7)], [(3, 4, 0)], 9), ([(60, 0, 5)], [(6, 8, 0)], 6), ([(60, 0, 5.5)], [(5, 4, 0)], 10),
    ([(60, 0, 5)], [(4, 4, 0), (3, 4, 4)], 7), ([(60, 0, 9)], [(4, 4, 0), (3, 4, 4)], 10)])
def test_a_score_becomes_a_loop_of_its_bars(m, notes, signs, beats):
    score = score_of(*notes, tempo=120, signs=signs)
    assert loop_end(score) == pytest.approx(beats / 2)
    assert m.render(score, loop=True, steps=1, progress=False).shape[-1] == beats * 22_050


def test_a_file_says_where_it_ends(m, tmp_path):
    "Also where its last bars are rests."
    score = score_of((60, 0, 1))
    score.text_events.append(pretty_midi.Text(LOOP_END, 6.0))
    score.write(str(tmp_path / "loop.mid"))
    made = m.render(str(tmp_path / "loop.mid"), loop=True, steps=1, progress=False)
    assert made.shape[-1] == 6 * RATE


@few
@given(st.integers(2000, 10**6), st.integers(2, 900))
def test_frames_lie_evenly_round(n, frames):
    places = loop_places(n, frames)
    gaps = torch.cat([places, places[:1] + n]).diff()
    assert gaps.max() - gaps.min() <= 1 and gaps.sum() == n


# The joint

def bend(x, at):
    d = x.diff(n=2, dim=-1).abs().amax(0)
    return (d[at - 3 : at + 2].max() / d[at - 2205 : at + 2205].median()).item()


def joint(x):
    "How sharply a loop bends where it meets itself, and in 200 other places, sorted."
    n = x.shape[-1]
    turned, others = x.roll(n // 2, -1), np.random.default_rng(0).integers(3000, n - 3000, 200).tolist()
    return bend(turned, n // 2), sorted(bend(turned, at) for at in others)


HELD = [(48, 0, 3), (60, 6, 10), (64, 5, 9), (67, 7, 7.9), (55, 3, 7)]  # two are held over the end of 8 beats


@pytest.mark.parametrize("program", [0, 19, 48], ids=["piano", "organ", "strings"])
def test_no_joint_is_seen(package, program):
    "Sounding notes go round; cut off at the bar line, they are torn."
    score = score_of(*HELD, tempo=113)
    score.text_events.append(pretty_midi.Text(LOOP_END, 8 * 60 / 113))
    score.instruments[0].program = program
    loop = package.render(score, loop=True, progress=False)
    at, others = joint(loop)
    assert at < 1.5 * others[-10]
    cut = package.render(score, progress=False)[:, : loop.shape[-1]]
    assert joint(cut)[0] > 2 * max(at, others[-10])


def test_what_rings_goes_on_at_the_beginning(package):
    score = score_of((60, 7, 8), tempo=120)
    level = lambda x: 10 * x[:, 200:2000].square().mean().log10().item()
    loop, line = (package.render(score, loop=turned, progress=False) for turned in (True, False))
    assert level(loop) > level(line) + 20 and level(loop[:, -4000:]) > -60


def test_it_does_not_matter_where_a_loop_begins(package):
    "The same notes, turned by a beat: the same sound, turned."
    def at(turn):
        turned = [(p, (a + turn) % 8, (a + turn) % 8 + b - a) for p, a, b in HELD]
        score = score_of(*turned, tempo=120)
        score.text_events.append(pretty_midi.Text(LOOP_END, 4.0))
        return package.render(score, loop=True, texture=0, progress=False)
    mel = lambda x: package.encode(torch.cat([x, x, x], 1)[None])[..., 200:372]
    first, second = mel(at(0)), mel(at(3).roll(-3 * 22_050, -1))
    other = mel(at(0).roll(22_050, -1))
    assert (first - second).abs().mean() < 0.25 * (first - other).abs().mean()


def test_sound_from_noise(package):
    loop = package.sample(loop=True, bars=2, tempo=120, via="noise", steps=4, progress=False)[0]
    at, others = joint(loop)
    assert loop.shape[-1] == 4 * RATE and at < 1.5 * others[-10]


def test_stems_are_loops_that_add_up(package):
    score = score_of(*HELD, tempo=120)
    bass = pretty_midi.Instrument(33, name="BASS")
    bass.notes = [pretty_midi.Note(90, 36, 3.0, 4.5)]
    score.instruments.append(bass)
    score.text_events.append(pretty_midi.Text(LOOP_END, 4.0))
    how = dict(loop=True, steps=1, progress=False)
    mix, stems = package.render(score, **how), package.render(score, stems=True, **how)
    torch.testing.assert_close(sum(stems.values()), mix, atol=1e-5, rtol=0)
    assert len(stems) == 2
    for stem in stems.values():
        at, others = joint(stem)
        assert at < 2 * others[-5]


def test_a_loop_is_heard_through_windows():
    "Several at once, and of several items, each with what it is shown; a stretch of it, too."
    cond = torch.rand(2, 1, 3, 100, generator=torch.Generator().manual_seed(0))
    x = torch.rand(2, 1, 1, 100, generator=torch.Generator().manual_seed(1))
    network = lambda x, t, cond: x * cond.sum(2, keepdim=True)
    plain = Denoiser(network, Schedule.named("cosine"), "x0", cond)
    windows = Windowed(plain, 24)
    torch.testing.assert_close(Ring(windows, 12)(x, 5), plain(x, 5))
    some, both = slice(30, 90), torch.cat([x[..., :60], x[..., 30:90]])
    torch.testing.assert_close(windows.at(some)(x[..., some], 5), plain(x, 5)[..., some])
    torch.testing.assert_close(windows.at(slice(0, 60), some)(both, 5), plain.at(slice(0, 60), some)(both, 5))


def test_the_composer_goes_round(package):
    "The denoiser of a loop's notes gives the same, turned, for what is turned."
    gen = torch.Generator().manual_seed(0)
    x, network = torch.randn(1, 2, 264, 64, generator=gen), package.composer
    cond = torch.randn(1, 2, NOTES.rows, 64, generator=gen).clamp(0, 1)
    ring = lambda x, cond: Ring(Denoiser(network, network.schedule, "x0", cond), 128)(x, 500)
    line = lambda x, cond: Denoiser(network, network.schedule, "x0", cond)(x, 500)
    differ = lambda way: (way(x, cond) - way(x.roll(16, -1), cond.roll(16, -1)).roll(-16, -1)).abs().mean()
    assert differ(ring) < 0.2 * differ(line)


# What asks for one

@pytest.mark.parametrize("how, seconds", [
    (dict(bars=2, tempo=150), 3.2), (dict(bars=3), 6), (dict(seconds=5, tempo=96), 5),
    (dict(seconds=5.2), 6)])
def test_sample(m, how, seconds):
    for via in ("score", "noise"):
        made = m.sample(loop=True, via=via, steps=1, batch=2, progress=False, **how)
        assert made.shape == (2, 2, round(seconds * RATE)) and not torch.equal(made[0], made[1])
    again = m.sample(loop=True, seed=1, via="noise", steps=1, progress=False, **how)
    assert torch.equal(again[0], made[1])


def test_bars_without_a_loop(m):
    assert m.sample(bars=2, tempo=150, steps=1, progress=False).shape[-1] == round(3.2 * RATE)
    piece = m.compose(bars="3", tempo=100, meter=3, steps=1, progress=False)
    assert 3.6 < piece.get_end_time() <= 5.4 + 1e-3


def test_a_tune_becomes_a_loop(m):
    "Its own notes stay; the rest is made around them, in whole bars."
    tune = score_of((64, 0, 1), (62, 2, 3), (60, 4, 5.5), tempo=100)
    tune.instruments[0].name = "MELODY"
    piece = m.compose(score=tune, keep="melody", loop=True, steps=1, progress=False)
    assert loop_end(piece) == pytest.approx(4.8, abs=1e-3)
    melody, = (track for track in piece.instruments if track.name == "MELODY")
    assert [note.pitch for note in melody.notes] == [64, 62, 60]


def test_on_the_command_line(m, tmp_path, capsys):
    weights = str(m.save_pretrained(tmp_path / "model"))
    run = lambda *words: (main([*map(str, words), "--weights", weights]), capsys.readouterr())
    loop, mid, song = (tmp_path / name for name in ("loop.wav", "song.mid", "song.flac"))
    code, said = run("sample", "--loop", "--bars", 2, "--tempo", 150, "--steps", 1, "--out", loop)
    assert code == 0, said
    assert load_audio(loop).shape[-1] == round(3.2 * RATE)
    made = "compose", "--loop", "--bars", 2, "--tempo", 150, "--steps", 1, "--out", mid, "--audio", song
    code, said = run(*made)
    assert code == 0 and LOOP_END not in said.out, said
    assert load_audio(song).shape[-1] == round(3.2 * RATE)
    assert loop_end(load_score(str(mid))) == pytest.approx(3.2)
    code, said = run("render", mid, "--loop", "--steps", 1, "--out", tmp_path / "again.wav")
    assert code == 0 and load_audio(tmp_path / "again.wav").shape[-1] == round(3.2 * RATE), said
    for words, wrong in ((("--bars", 0), "--bars is 0"), (("--tempo", 5), "--tempo is 5.0"),
                         (("--bars", 900, "--tempo", 60), "a loop of 900 bars lasts 3600 s")):
        code, said = run("sample", "--loop", *words, "--out", loop)
        assert code == 2 and wrong in said.err


def test_in_the_studio(m, tmp_path):
    "A box to tick, a record that makes the same bits, and a command that says so."
    pytest.importorskip("ipywidgets")
    from msanii.studio import Studio, again, records
    studio = Studio(m, tmp_path / "page")
    for task in ("sample", "compose", "render"):
        studio.task.value = task
        assert "loop" in [widget.description for widget in studio.form.children]
    studio.task.value = "sample"
    studio.fields["loop"].value, studio.fields["bars"].value, studio.fields["tempo"].value = True, "2", "150"
    studio.fields["steps"].value = 1
    studio.run()
    studio.job.join()
    record, = records(tmp_path / "page")
    assert record["settings"]["loop"] is True and record["settings"]["bars"] == 2
    assert "--loop --" in record["command"] or record["command"].endswith("--loop")
    assert again(record, m, tmp_path / "page").shape[-1] == round(3.2 * RATE)
    studio.fields["loop"].value = False
    studio.show(json.loads(json.dumps(record)))
    assert studio.fields["loop"].value is True


@pytest.mark.parametrize("how, words", [
    (dict(loop="yes"), "loop is 'yes': give True or False"), (dict(bars=1.5), "bars is 1.5"),
    (dict(bars=1, tempo=1), "tempo is 1"), (dict(loop=True, seconds=700), "at most 600 s")])
def test_what_cannot_be_sampled(m, how, words):
    with pytest.raises(InputError, match=words): m.sample(**how)


@pytest.mark.parametrize("how, words", [
    (dict(loop=2), "loop is 2"), (dict(bars="a-b"), "bars is 'a-b'"), (dict(bars=0), "bars is 0")])
def test_what_cannot_be_composed(m, how, words):
    with pytest.raises(InputError, match=words): m.compose(progress=False, **how)
    with pytest.raises(InputError, match="loop is None"): m.render(score_of((60, 0, 1)), loop=None)
