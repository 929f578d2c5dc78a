"""Scores that are damaged, odd or too large, and a system without FluidSynth or SoundFont."""
import ctypes, io, math, random, struct, sys, warnings

import numpy as np
import pretty_midi
import pytest
import torch

from msanii import score as S
from msanii.audio import InputError
from msanii.score import song_by_rules, find_soundfont, load_score, notes, parse_key, piano_roll, render_score


def make(*instruments):
    "A score from (program, is_drum, [(pitch, start, end)])."
    score = pretty_midi.PrettyMIDI()
    for program, is_drum, played in instruments:
        instrument = pretty_midi.Instrument(program, is_drum)
        instrument.notes = [pretty_midi.Note(90, pitch, start, end) for pitch, start, end in played]
        score.instruments.append(instrument)
    return score


def midi_bytes(score):
    file = io.BytesIO()
    score.write(file)
    return file.getvalue()


# Reading

def test_truncated_midi_is_named(tmp_path):
    path = tmp_path / "cut.mid"
    path.write_bytes(midi_bytes(song_by_rules(seconds=4))[:300])
    with pytest.raises(InputError, match="cut.mid"):
        load_score(path)


def test_randomly_damaged_midi_loads_or_raises_inputerror():
    whole, rng, refused = midi_bytes(song_by_rules(seconds=4)), random.Random(0), 0
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            load_score(bytes(data))
        except InputError:
            refused += 1
    assert refused > 0


@pytest.mark.parametrize("content", [b"", b"These are the words of a song.", b"\x00" * 500],
                         ids=["empty", "text", "zeros"])
def test_what_is_no_midi(tmp_path, content):
    path = tmp_path / "song.mid"
    path.write_bytes(content)
    with pytest.raises(InputError, match="song.mid"):
        load_score(path)


def test_midi_without_notes(tmp_path):
    path = tmp_path / "silent.mid"
    pretty_midi.PrettyMIDI().write(str(path))
    for given in (path, path.read_bytes(), pretty_midi.PrettyMIDI()):
        with pytest.raises(InputError, match="no notes"):
            load_score(given)


def test_paths_that_are_no_files(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_score(tmp_path / "missing.mid")
    for wrong in (tmp_path, None, 3.5):
        with pytest.raises(InputError):
            load_score(wrong)


@pytest.mark.parametrize("note", [(60, math.nan, 1.0), (60, 0.0, math.inf), (60, -1.0, 1.0), (200, 0.0, 1.0)])
def test_notes_that_cannot_be_played(note):
    with pytest.raises(InputError, match="The score holds"):
        render_score(make((0, False, [note])))


# What a player plays: state that reaches across tracks, notes without an end, bytes that make no sense

X = bytes.fromhex
ORGAN, TEMPO = X("00c013"), X("00ff510307a120")       # a second is two beats
TWO = X("00903c5a8360803c000090405a8360804000")        # C and E, a beat each
TUNE = TEMPO + ORGAN + TWO
CE = [(0, 0.5, 60), (0.5, 1, 64)]
DCE = [(0, 0.5, 62), (0.5, 1, 60), (1, 1.5, 64)]
LATER = X("8360803e00")                                # a note-off of D, a beat later


def track(events, end=X("00ff2f00")): return b"MTrk" + struct.pack(">I", len(events + end)) + events + end


def midi(*tracks, division=480, count=None, kind=1):
    head = struct.pack(">IHHH", 6, kind, count or len(tracks), division)
    return b"MThd" + head + b"".join(map(track, tracks))


STATE = {
    "a tempo in the second track": (midi(b"", X("00ff51030f4240") + ORGAN + TWO), [(0, 1, 60), (1, 2, 64)]),
    "a tempo in the last track, midway": (
        midi(TUNE, X("8360ff51030f4240")), [(0, 0.5, 60), (0.5, 1.5, 64)]),
    "all notes off": (midi(TEMPO + ORGAN + X("00903e5a8360b07b00") + TWO), DCE),
    "all sound off": (midi(TEMPO + ORGAN + X("00903e5a8360b07800") + TWO), DCE),
    "all notes off in another track": (
        midi(TEMPO + ORGAN + X("00903e5a"), X("8360b07b00") + X("8360904040") + X("8360804000")),
        [(0, 0.5, 62), (1, 1.5, 64)]),
    "mono mode, which ends notes": (midi(TEMPO + ORGAN + X("00903e5a8360b07e01") + TWO), DCE),
    "a pedal in the first track": (
        midi(TEMPO + ORGAN + X("00b0407f8f00b04000"), TWO), [(0, 2, 60), (0.5, 2, 64)]),
    "a pedal in the last track": (
        midi(TEMPO, ORGAN + TWO, X("00b0407f8f00b04000")), [(0, 2, 60), (0.5, 2, 64)]),
    "a sostenuto pedal, which holds what was down": (
        midi(TEMPO + ORGAN + X("00903c5a60b0427f") + X("60803c00") + X("6090405a60804000") + X("8f00b04200")),
        [(0, 0.4 + 2.0, 60), (0.3, 0.4, 64)]),
    "a sostenuto pedal before a key, and one that a pedal takes over from": (
        midi(TEMPO + ORGAN + X("00b0427f00903c5a60803c0060b042006090405a60b0427f60804000")
             + X("60b0407f60b0420060b04000")), [(0, 0.1, 60), (0.3, 0.8, 64)]),
    "a pedal that all sound off ends": (
        midi(TUNE + X("8740") + X("b07800"), X("00b0407f9e00b04000")), [(0, 2, 60), (0.5, 2, 64)]),
    "a pedal that a reset lifts": (
        midi(TUNE + X("8740") + X("b07900"), X("00b0407f9e00b04000")), [(0, 2, 60), (0.5, 2, 64)]),
    "a note-off in another track": (
        midi(TEMPO + ORGAN + X("00903e5a"), LATER + X("8360904040") + X("8360804000")),
        [(0, 0.5, 62), (1, 1.5, 64)]),
    "a note that never ends": (
        midi(TUNE + X("00903e5a") + X("8740ff0101") + b"x"), [*CE, (1, 2, 62)]),
    "an expression that a reset restores": (midi(TEMPO + ORGAN + X("00b00b0a00b07900") + TWO), CE),
    "programs in the first track": (midi(TEMPO + ORGAN, TWO), CE),
    "programs in the last track": (midi(TEMPO, TWO, ORGAN), CE),
    "a volume before another program": (
        midi(TEMPO + X("00b0071400c000") + ORGAN + TWO), CE),
    "a volume in another track": (midi(TUNE, X("00b00714")), CE),
    "type 0": (midi(TUNE, kind=0), CE),
    "an unknown chunk": (
        midi(TUNE).replace(b"MTrk", b"XFIH\0\0\0\2ab" + b"MTrk", 1), CE),
    "bytes before the file": (b"RIFF\x50\0\0\0RMIDdata\x48\0\0\0" + midi(TUNE), CE),
    "running status after a meta event": (
        midi(TEMPO + ORGAN + X("00903c5a00ff01017883603c0000405a83604000")), CE),
    "no end of the track": (midi(TUNE).replace(X("00ff2f00"), b"").replace(
        struct.pack(">I", len(TUNE) + 4), struct.pack(">I", len(TUNE))), CE),
}
ODD = {  # and what the warning says; None: no warning
    "a key of nine flats": (midi(X("00ff5902f800") + TUNE), CE, "key (1)"),
    "a key of a third mode": (midi(X("00ff59020002") + TUNE), CE, "key (1)"),
    "a metre of no beats": (midi(X("00ff580400021808") + TUNE), CE, "metre (1)"),
    "a metre of one byte": (midi(X("00ff580104") + TUNE), CE, "metre (1)"),
    "a tempo of nothing": (midi(TUNE + X("00ff5103000000")), CE, "tempo (1)"),
    "a controller's value": (midi(X("00b007ff") + TUNE), CE, "data byte above 127 (1)"),
    "a controller that there is not": (midi(X("00b0ff07") + TUNE), CE, "data byte above 127 (1)"),
    "a velocity": (midi(TUNE.replace(X("3c5a"), X("3cff"))), CE, "data byte above 127 (1)"),
    "a key that there is not": (midi(TUNE + X("0090ff5a")), CE, "data byte above 127 (1)"),
    "a byte of a sysex": (midi(X("00f00541ffff10f7") + TUNE), CE, None),
    "a program": (midi(TUNE + X("00c0ff")), CE, "data byte above 127 (1)"),
    "fewer tracks than were said": (midi(TUNE, count=3), CE, "missing track (2)"),
    "a text that is no text": (midi(X("00ff0103ffe9fe") + TUNE), CE, None),
    "32,767 ticks a beat for minutes": (
        midi(TUNE + X("00903e5a85cfd600803e00"), division=32_767),
        [(0, 480 / 65_534, 60), (480 / 65_534, 960 / 65_534, 64),
         (960 / 65_534, (960 + 11_791_104) / 65_534, 62)], None),
    "25 frames of 40 ticks a second": (midi(TUNE, division=0xE728), [(0, 0.48, 60), (0.48, 0.96, 64)], None),
    "30 frames of 80 ticks a second": (midi(TUNE, division=0xE250), [(0, 0.2, 60), (0.2, 0.4, 64)], None),
    "29.97 frames": (midi(TUNE, division=0xE350), [(0, 0.2002, 60), (0.2002, 0.4004, 64)], None),
}


def table_of(data): return [(a, b, int(pitch)) for a, b, pitch, *_ in notes(data)]


def same_table(found, expected):
    assert len(found) == len(expected), found
    for row, right in zip(sorted(found), sorted(expected)): assert row == pytest.approx(right, abs=1e-6)


@pytest.mark.parametrize("name", STATE)
def test_state_reaches_across_tracks(name):
    data, expected = STATE[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same_table(table_of(data), expected)


@pytest.mark.parametrize("name", ODD)
def test_what_makes_no_sense_is_left_aside(name):
    data, expected, said = ODD[name]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        same_table(table_of(data), expected)
    assert [said in str(w.message) for w in caught] == [True] * (said is not None), caught


def players_sound(data, folder, seconds):
    "What FluidSynth's own player makes of a file."
    fluidsynth = S.find_fluidsynth()
    (folder / "a.mid").write_bytes(data)
    synth = fluidsynth.Synth(gain=1.0, samplerate=44_100.0, **S.SETTINGS)
    synth.sfload(str(find_soundfont()))
    synth.play_midi_file(str(folder / "a.mid"))
    sound = np.concatenate([synth.get_samples(441).reshape(-1, 2) for _ in range(round(100 * seconds))])
    synth.delete()
    return sound.T / 32_768


OTHERWISE = {name: "FluidSynth does not read this" for name in (
    "an unknown chunk", "bytes before the file", "no end of the track", "running status after a meta event")}
OTHERWISE["programs in the last track"] = "FluidSynth hears of the program after the first note"
OTHERWISE["mono mode, which ends notes"] = "we play chords all the same"


@pytest.mark.parametrize("name", STATE)
def test_scores_sound_as_a_player_plays_them(name, tmp_path):
    data = STATE[name][0]
    if name in OTHERWISE: pytest.skip(OTHERWISE[name])
    ours = render_score(data).numpy()
    level = lambda x: np.sqrt((x[:, : x.shape[1] // 2205 * 2205].reshape(2, -1, 2205) ** 2).mean((0, 2)))
    theirs = level(players_sound(data, tmp_path, ours.shape[1] / 44_100))
    assert theirs.max() > 1e-3
    n = round(20 * S.sound_end(load_score(data)))  # what never ends rings on with them
    assert np.abs(level(ours)[:n] - theirs[:n]).max() < 0.15 * theirs.max()


def test_a_program_is_that_of_the_note_on():
    "And what one track says of a channel holds for another, unless both speak at once."
    late = midi(TEMPO + ORGAN + X("00903c5a") + X("10c000") + X("8350803c00"))
    assert [i.program for i in load_score(late).instruments] == [19]
    both = midi(TEMPO + ORGAN + TWO, X("00c049") + TWO)
    assert [i.program for i in load_score(both).instruments] == [19, 73]
    ports = midi(TEMPO + X("00ff210100") + ORGAN + TWO, X("00ff210101") + X("00b04000") + TWO)
    assert [i.program for i in load_score(ports).instruments] == [19, 0]


def test_patterns_of_type_2_are_played_in_turn_with_a_word():
    "Each with its own tempo, programs and pedal, which say nothing of the next one."
    slow = X("00ff51030f4240") + ORGAN + X("00b0407f") + TWO
    with pytest.warns(UserWarning, match="type 2, with 3 patterns: they are played one after the other"):
        score = load_score(midi(slow, TWO, TUNE, kind=2))
    assert [i.program for i in score.instruments] == [19, 0, 19]
    assert [n.start for i in score.instruments for n in i.notes] == [0, 1, 2, 2.5, 3, 3.5]
    same_table([row[:2] + row[2:3] for row in map(tuple, notes(score)[2:, :3])],
               [(2, 2.5, 60), (2.5, 3, 64), (3, 3.5, 60), (3.5, 4, 64)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same_table(table_of(midi(TUNE, kind=2)), CE)  # a single one is like any other


def test_forty_tracks_written_and_read_keep_their_programs():
    score = make(*[(i, False, [(60, 0.1 * i, 0.1 * i + 1)]) for i in range(40)])
    assert [i.program for i in load_score(midi_bytes(score)).instruments] == list(range(40))


def test_controllers_of_the_channel_reach_every_program_and_track():
    "The volume of `band_notes` is what is heard."
    for name in ("a volume before another program", "a volume in another track"):
        assert S.band_notes(STATE[name][0])[:, 3].tolist() == [90 * 20 / 100] * 2
    assert S.band_notes(STATE["an expression that a reset restores"][0])[:, 3].tolist() == [90, 90]


def test_a_note_of_no_length_is_kept():
    data = midi(TEMPO + X("00993c5a00893c00") + X("8360903c5a8360803c00"))
    score = load_score(data)
    assert [len(i.notes) for i in score.instruments] == [1, 1] and score.instruments[0].is_drum


@pytest.mark.parametrize("late", [X("86e900ff050161"), X("86e900ff010161"), X("86e900ff51030f4240"),
                                  X("86e900ff580404021808"), X("86e900b00740"),
                                  X("86e900e00040")],
                         ids=["lyric", "text", "tempo", "metre", "volume", "bend"])
def test_a_score_ends_with_its_last_sound(late):
    "What comes minutes later and is not heard does not count."
    assert S.sound_end(load_score(midi(TUNE + late))) == 1.0
    assert render_score(midi(TUNE + late)).shape == (2, 88_200)


# SoundFont and FluidSynth

def test_named_soundfont_is_missing_or_no_soundfont(tmp_path, monkeypatch):
    fake = tmp_path / "piano.sf2"
    fake.write_text("no SoundFont")
    for path in (fake, tmp_path / "absent.sf2", tmp_path):
        with pytest.raises(InputError, match=path.name):
            find_soundfont(path)
    monkeypatch.setenv("SOUNDFONT", str(fake))
    with pytest.raises(InputError, match="piano.sf2 .from SOUNDFONT"):
        render_score(song_by_rules(seconds=1))


def test_order_of_soundfonts(tmp_path, monkeypatch):
    monkeypatch.delenv("SOUNDFONT", raising=False)
    monkeypatch.delenv("MSANII_SOUNDFONT", raising=False)
    shipped = find_soundfont()
    assert shipped.name == "TimGM6mb.sf2"
    for name in "abc":
        (tmp_path / f"{name}.sf2").write_bytes(shipped.read_bytes()[:12])
    monkeypatch.setenv("SOUNDFONT", str(tmp_path / "c.sf2"))
    assert find_soundfont().name == "c.sf2"
    monkeypatch.setenv("MSANII_SOUNDFONT", str(tmp_path / "b.sf2"))
    assert find_soundfont().name == "b.sf2"
    assert find_soundfont(tmp_path / "a.sf2").name == "a.sf2"
    with pytest.raises(InputError, match="a.sf2"):  # the head of a SoundFont, and nothing behind it
        render_score(song_by_rules(seconds=1), soundfont=tmp_path / "a.sf2")


def test_no_soundfont_anywhere(tmp_path, monkeypatch):
    monkeypatch.delenv("SOUNDFONT", raising=False)
    monkeypatch.delenv("MSANII_SOUNDFONT", raising=False)
    monkeypatch.setattr(S, "SOUNDFONT_FOLDERS", (str(tmp_path / "nowhere"),))
    monkeypatch.setattr(pretty_midi, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(InputError, match="nowhere"):
        find_soundfont()


def test_fluidsynth_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "fluidsynth", None)  # importing it raises ImportError
    with pytest.raises(InputError, match="libfluidsynth3"):
        render_score(song_by_rules(seconds=1))
    assert len(notes(song_by_rules(seconds=1))) > 0  # what needs no synthesizer works


# Playing

def test_rendering_is_the_same_to_the_bit():
    score = song_by_rules(seed=2, seconds=3)
    first = render_score(score)
    ctypes.CDLL(None).rand()  # FluidSynth's dither would take its noise from here
    assert torch.equal(render_score(score), first)
    assert torch.equal(render_score(midi_bytes(score)), render_score(midi_bytes(score)))


def test_stereo():
    score = make((0, False, [(60, 0.0, 1.0)]))
    left, right = render_score(score)
    assert left.std() > 0 and not torch.equal(left, right)
    score.instruments[0].control_changes.append(pretty_midi.ControlChange(10, 0, 0.0))
    left, right = render_score(score)
    assert left.std() > 5 * right.std()


def test_forty_instruments_all_sound():
    every = [(0, False, [(40 + i, 0.002 * i, 0.2)]) for i in range(40)]
    together = render_score(make(*every), tail=0.1)
    alone = sum(render_score(make(instrument), tail=0.1) for instrument in every)
    assert (together - alone).abs().max() < 1e-4 * together.abs().max()


def test_too_many_instruments():
    with pytest.raises(InputError, match="257 instruments"):
        render_score(make(*[(0, False, [(60, 0.0, 0.1)])] * 257))


def test_drums():
    beat = [(36, 0.0, 0.2), (38, 0.5, 0.7)]
    drums, bass = make((0, True, beat)), make((0, False, beat))
    assert render_score(drums).abs().max() > 0.01
    assert not torch.equal(render_score(drums), render_score(bass))
    assert notes(drums).shape == (0, 5) and len(notes(bass)) == 2
    assert piano_roll(drums, frames=20).abs().sum() == 0


def test_pitch_bend_and_rate():
    def fundamental(score):
        sound = render_score(score, sample_rate=22_050)[0, :22_050].numpy()
        return np.abs(np.fft.rfft(sound * np.hanning(22_050))).argmax()  # Hz
    score = make((73, False, [(69, 0.0, 1.0)]))
    assert render_score(score, sample_rate=22_050).shape == (2, 44_100)
    assert abs(fundamental(score) - 440) <= 3
    score.instruments[0].pitch_bends.append(pretty_midi.PitchBend(8191, 0.0))  # two semitones up
    assert abs(fundamental(score) - 440 * 2 ** (2 / 12)) <= 5
    with pytest.raises(InputError, match="4000"):
        render_score(score, sample_rate=4000)


def test_score_of_ten_hours():
    with pytest.raises(InputError, match="two hours"):
        render_score(make((0, False, [(60, 36_000.0, 36_001.0)])))


def test_note_without_length_sounds_and_stops():
    # an organ sounds as long as its key is down
    sound = render_score(make((19, False, [(60, 0.5, 0.5)])), tail=2.0)
    assert sound[:, 22_050:26_000].abs().max() > 1e-3
    assert sound[:, -4410:].abs().max() < 1e-3


# Tables and rolls

def pedalled(*changes):
    score = make((0, False, [(60, 0.0, 0.5), (60, 2.0, 2.5), (64, 0.0, 0.5)]))
    pedal = [pretty_midi.ControlChange(64, value, time) for time, value in changes]
    score.instruments[0].control_changes = pedal
    return {(row[2], row[0]): row[1] for row in notes(score)}


def test_pedal():
    assert pedalled() == {(60, 0): 0.5, (60, 2): 2.5, (64, 0): 0.5}
    assert pedalled((0.1, 127), (1.0, 0)) == {(60, 0): 1.0, (60, 2): 2.5, (64, 0): 1.0}
    assert pedalled((0.1, 127), (3.0, 0)) == {(60, 0): 2.0, (60, 2): 3.0, (64, 0): 3.0}  # struck again at 2 s
    assert pedalled((0.1, 127), (0.5, 0)) == {(60, 0): 0.5, (60, 2): 2.5, (64, 0): 0.5}
    assert pedalled((0.6, 127), (1.0, 0))[60, 0] == 0.5  # the pedal came too late for it
    assert pedalled((0.1, 127))[64, 0] == 2.5            # never lifted: until the score ends


def test_roll_of_a_window_is_the_window_of_the_roll():
    table = notes(song_by_rules(seed=1, seconds=20))
    whole = piano_roll(table, frames=900)
    for start, frames in ((0, 900), (100, 50), (700, 200), (850, 100)):
        part = piano_roll(table, frames, start=start)
        assert torch.equal(part[..., : 900 - start], whole[..., start : start + frames])
    assert piano_roll(table, frames=10, start=10_000).abs().sum() == 0


def test_roll_values():
    score = make((0, False, [(20, 0.0, 1.0), (109, 0.0, 1.0), (21, 0.0, 1.0), (108, 0.5, 0.5)]))
    roll = piano_roll(score, frames=50)
    assert roll.shape == (1, 176, 50) and roll.dtype == torch.float32
    # pitches 20 and 109 are no keys of a piano
    assert roll[0].nonzero()[:, 0].unique().tolist() == [0, 87, 88, 175]
    assert roll[0, 0].nonzero().flatten().tolist() == [0]
    assert roll[0, 88].nonzero().flatten().tolist() == list(range(43))    # 1 s is 43.07 frames
    assert roll[0, 175].nonzero().flatten().tolist() == [22]              # no length, yet a frame
    assert roll.max().item() == pytest.approx(90 / 127)


# Composing

def test_compose():
    for seed, seconds in ((0, 0.5), (1, 5), (2, 33.3), ((3, 4), 60)):
        song = song_by_rules(seed, seconds)
        assert [i.name for i in song.instruments] == ["MELODY", "CHORDS", "BASS", "DRUMS"]
        assert song.get_end_time() <= seconds + 1e-6
        assert midi_bytes(song) == midi_bytes(song_by_rules(seed, seconds))
    assert midi_bytes(song_by_rules(0)) != midi_bytes(song_by_rules(1))
    assert song_by_rules(0, 20, tempo=100).get_tempo_changes()[1][0] == pytest.approx(100)


@pytest.mark.parametrize("wrong", [
    dict(seconds=0), dict(seconds=math.nan), dict(tempo=0), dict(key="H:maj"), dict(key="C sharp"),
    dict(seed=-1), dict(seed="x")])
def test_compose_refuses(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        song_by_rules(**wrong)


@pytest.mark.parametrize("key, tonic", [("C", (0, "maj")), ("F# minor", (6, "min")), ("Gb:maj", (6, "maj")),
                                        ("am", (9, "min")), ("Bbm", (10, "min")), ("e", (4, "min"))])
def test_keys_as_people_write_them(key, tonic): assert parse_key(key) == tonic


def test_composed_songs_do_not_clip():
    for seed in range(3):
        peak = render_score(song_by_rules(seed, 15)).abs().max()
        assert 0.1 < peak < 1
