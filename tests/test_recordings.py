"""A corpus of recordings: any rate, mono, long, damaged, quiet and loud files, and scores from a function."""
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from msanii.app import main
from msanii.audio import InputError, load_audio, resample, save_audio, stream_audio
from msanii.corpus import (USUAL_LEVELS, Grid, Recordings, Windows, check_pieces, corpus_about, corpus_split,
                           record_corpus, render_corpus)
from msanii.long import LOUD
from msanii.pop909 import Composed
from msanii.score import render_score, song_by_rules

QUIET = dict(n_jobs=1, progress=False)


def sound(seconds, rate=44_100, channels=2, level=0.06, hertz=220):
    t = np.arange(round(seconds * rate)) / rate
    return level * 2**0.5 * np.sin(2 * np.pi * hertz * t)[:, None] * np.ones((1, channels))


def info(folder): return json.loads((folder / "corpus.json").read_text())


@pytest.mark.parametrize("rate, channels, name", [
    (8_000, 1, "a.wav"), (22_050, 2, "a.mp3"), (22_254, 1, "a.flac"), (32_000, 2, "a.mp3"),
    (44_100, 1, "a.ogg"), (44_100, 2, "A.WAV"), (48_000, 2, "a.flac"), (96_000, 6, "a.wav"),
    (192_000, 1, "a.flac")])
def test_any_rate_and_number_of_channels(tmp_path, rate, channels, name):
    sf.write(tmp_path / name, sound(7.3, rate, channels), rate)
    folder = record_corpus(tmp_path, tmp_path / "c", seconds=3, **QUIET)
    whole = load_audio(tmp_path / name)
    numbers = sorted(int(n) for n in info(folder)["songs"])
    stored = np.concatenate([np.load(folder / f"{n:03d}.npy") for n in numbers], 1)
    assert stored.shape == whole.shape and stored.dtype == np.int16
    assert np.abs(stored / 32_767 - whole.numpy()).max() < 1e-3
    item = Windows(folder, 64)[0]
    assert item["waveform"].shape == (2, 63 * 1024) and item["scored"] is False
    assert not item["roll"].any() and not item["band"].any()


def test_a_file_of_twenty_minutes(tmp_path):
    "It becomes minutes, of which two are for validation, and no more than some of it is in memory."
    with sf.SoundFile(tmp_path / "long.flac", "w", 44_100, 1) as file:
        for minute in range(20): file.write(np.tile(sound(1, channels=1, hertz=200 + 20 * minute), (60, 1)))
    program = ("import resource, sys; from msanii.corpus import record_corpus; import msanii.mel\n"
               "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3\n"
               "before = peak(); record_corpus(sys.argv[1], sys.argv[2], n_jobs=1, progress=False)\n"
               "print(peak() - before)")
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path), str(tmp_path / "c")],
                          capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) < 350, "MB; all of it at 44.1 kHz in stereo is 423"
    folder = tmp_path / "c"
    assert set(info(folder)["songs"].values()) == {60 * 44_100}
    assert corpus_split(folder, "validation") == [10, 20] and len(corpus_split(folder, "train")) == 18
    assert corpus_split(folder, "heldout") == []
    tops = [np.abs(np.fft.rfft(np.load(folder / f"{n:03d}.npy")[0, :44_100])).argmax() for n in range(1, 21)]
    assert tops == [200 + 20 * minute for minute in range(20)]


def test_damaged_files_are_named_and_skipped(tmp_path):
    top = tmp_path / "rec"
    save_audio(top / "1" / "2" / "good.flac", torch.tensor(sound(3).T))
    whole = (top / "1" / "2" / "good.flac").read_bytes()
    (top / "cut.flac").write_bytes(whole[: len(whole) // 2])
    (top / "words.mp3").write_text("no sound")
    (top / "empty.ogg").touch()
    sf.write(top / "silent.wav", np.zeros((44_100 * 2, 2)), 44_100)
    sf.write(top / "short.wav", sound(0.3), 44_100)
    sf.write(top / "nan.wav", np.full((90_000, 1), np.nan, np.float32), 44_100, subtype="FLOAT")
    (top / "cover.jpg").write_text("a picture is not meant")
    (top / "._good.flac").write_text("nor is what a Mac leaves behind")
    with pytest.warns(UserWarning) as caught: folder = record_corpus(top, tmp_path / "c", **QUIET)
    said = " ".join(str(w.message) for w in caught)
    bad = {"cut.flac", "words.mp3", "empty.ogg", "silent.wav", "short.wav", "nan.wav"}
    assert set(info(folder)["damaged"]) == bad and all(name in said for name in bad)
    assert list(info(folder)["recordings"]) == ["1/2/good.flac"] and list(info(folder)["songs"]) == ["001"]


def test_nothing_to_record(tmp_path):
    for wrong, words in ((tmp_path, "holds no sound files"), (tmp_path / "none", "is no folder")):
        with pytest.raises(InputError, match=words): record_corpus(wrong, tmp_path / "c", **QUIET)
    (tmp_path / "a.wav").write_text("no")
    with pytest.warns(UserWarning, match="a.wav"): folder = record_corpus(tmp_path, tmp_path / "c", **QUIET)
    assert info(folder)["songs"] == {}
    for seconds in (0, 2.5, -1):
        with pytest.raises(InputError, match=f"seconds is {seconds}"):
            record_corpus(tmp_path, tmp_path / "d", seconds, **QUIET)


@pytest.mark.parametrize("level", [0.001, 0.01, 0.06, 0.3, 0.9])
def test_a_familiar_level(tmp_path, level):
    "Of the recording as a whole: its quiet part stays as much quieter than the loud one."
    x = np.concatenate([sound(4, level=level / 2**0.5 * 1.26), sound(4, level=level / 2**0.5 * 0.63)])
    sf.write(tmp_path / "a.wav", x, 44_100, subtype="FLOAT")
    folder = record_corpus(tmp_path, tmp_path / "c", seconds=4, **QUIET)
    loud, quiet = (np.sqrt((np.load(folder / f"{n:03d}.npy") / 32_767.0).__pow__(2).mean()) for n in (1, 2))
    whole = ((loud**2 + quiet**2) / 2) ** 0.5
    assert loud / quiet == pytest.approx(2, rel=0.02) and USUAL_LEVELS == LOUD
    assert USUAL_LEVELS[0] * 0.98 <= whole <= USUAL_LEVELS[1] * 1.02
    if USUAL_LEVELS[0] < level < USUAL_LEVELS[1]:
        assert info(folder)["recordings"]["a.wav"]["gain"] == pytest.approx(1)


def test_a_second_call_adds_what_is_new(tmp_path):
    top, folder = tmp_path / "rec", tmp_path / "c"
    save_audio(top / "m.wav", torch.tensor(sound(6).T))
    record_corpus(top, folder, seconds=3, **QUIET)
    times = {f.name: f.stat().st_mtime_ns for f in folder.glob("*.npy")}
    before = info(folder)
    assert info(record_corpus(top, folder, seconds=3, **QUIET)) == before
    save_audio(top / "a.wav", torch.tensor(sound(2).T))  # sorted before the other, numbered behind it
    (folder / "002.npy").unlink()
    record_corpus(top, folder, seconds=3, **QUIET)
    after = {f.name: f.stat().st_mtime_ns for f in folder.glob("*.npy")}
    assert {name for name in after if times.get(name) != after[name]} == {
        "002.npy", "002.notes.npy", "003.npy", "003.notes.npy"}
    assert info(folder)["recordings"]["a.wav"]["first"] == 3
    for wrong in (lambda: record_corpus(top, folder, seconds=4, **QUIET),
                  lambda: record_corpus(top, folder, seconds=3, scores=lambda x: None, **QUIET),
                  lambda: render_corpus(Composed(1, 4.0), folder, **QUIET)):
        with pytest.raises(InputError, match="another corpus"): wrong()
    save_audio(top / "m.wav", torch.tensor(sound(8).T))
    with pytest.raises(InputError, match="m.wav has changed"): record_corpus(top, folder, seconds=3, **QUIET)


def test_scores_from_a_function(tmp_path):
    "Its notes are those of the piece, and training may show them."
    save_audio(tmp_path / "a.wav", torch.tensor(sound(6).T))
    asked = []
    def hear(waveform):
        asked.append(waveform.shape)
        return song_by_rules(len(asked), seconds=2)
    folder = record_corpus(tmp_path, tmp_path / "c", seconds=3, scores=hear, **QUIET)
    assert asked == [(2, 3 * 44_100)] * 2
    items = [Windows(folder, 64, [n])[0] for n in (1, 2)]
    assert all(item["scored"] is True and item["roll"].any() for item in items)
    assert not torch.equal(items[0]["roll"], items[1]["roll"])


def test_heard_scores(tmp_path, monkeypatch, capsys):
    "The command hears recordings itself; what is no recording needs no hearing."
    monkeypatch.chdir(tmp_path)
    save_audio(Path("rec/a.flac"), render_score(song_by_rules(1, seconds=8)))
    assert main("corpus --data rec --hear --out mine --jobs 1".split()) == 0
    item = Windows("mine", 128)[0]
    assert item["scored"] is True and item["roll"].any()
    assert main("corpus --data composed --songs 1 --hear --out other --jobs 1".split()) == 2
    assert "--hear is for recordings" in capsys.readouterr().err
    assert main("corpus --data rec --out mine --jobs 1".split()) == 2  # another corpus: it has no scores


def test_windows_must_lie_within_pieces(tmp_path):
    save_audio(tmp_path / "a.wav", torch.tensor(sound(9).T))
    check_pieces(record_corpus(tmp_path, tmp_path / "whole", **QUIET), 8192)  # nothing was cut
    folder = record_corpus(tmp_path, tmp_path / "cut", seconds=4, **QUIET)
    check_pieces(folder, 80)
    with pytest.raises(InputError, match="too short for windows of 6 s"): check_pieces(folder, 256)
    assert len(Grid(folder, 64)) > 0 and corpus_about(folder)["source"] == "recordings"


@pytest.mark.parametrize("rate", [8_000, 22_254, 44_100, 44_101, 96_000])
@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("seconds", [1, 3])
def test_pieces_are_the_whole(tmp_path, rate, suffix, seconds):
    path, n = tmp_path / f"a.{suffix}", 4 * 44_100 + 77
    x = torch.sin(torch.linspace(0, 9000, 2 * n)).view(2, -1) * torch.linspace(0.1, 0.9, n)
    try: save_audio(path, resample(x, 44_100, rate), rate)
    except InputError: pytest.skip(f"{suffix} holds no {rate} Hz")
    pieces = list(stream_audio(path, seconds))
    assert all(p.shape == (2, seconds * 44_100) for p in pieces[:-1]) and pieces[-1].shape[1] > 0
    torch.testing.assert_close(torch.cat(pieces, 1), load_audio(path), atol=1e-3, rtol=0)
    joined = tmp_path / f"joined.{suffix}"
    joined.write_bytes(path.read_bytes() * 2)
    torch.testing.assert_close(torch.cat(list(stream_audio(joined, seconds)), 1), load_audio(joined),
                               atol=1e-3, rtol=0)


def test_the_command(tmp_path, monkeypatch, capsys):
    "From recordings to a model of one's own, and a piece that it makes of another."
    pytest.importorskip("peft", reason="peft, an optional extra, is missing")
    monkeypatch.chdir(tmp_path)
    save_audio(Path("rec/a.mp3"), torch.tensor(sound(8).T), 44_100)
    for line, words in (
        ("corpus --data rec --out mine --jobs 1", "mine: 1 piece of rec"),
        ("train unet --from package --adapter --rank 2 --steps 1 --corpus mine --out own", "own: adapter, 1"),
        ("style-transfer rec/a.mp3 --steps 1 --strength 0.1 --weights own --out new.wav", "new.wav: 8.0 s"),
    ):
        assert main(line.split()) == 0
        assert words in capsys.readouterr().out
    Path("tapes").mkdir()
    Path("tapes/words.wav").write_text("no sound")
    assert main("corpus --data tapes --out c --jobs 1".split()) == 2
    assert "words.wav cannot be read as sound" in capsys.readouterr().err.splitlines()[-1]
    small = sum(f.stat().st_size for f in Path("own").iterdir() if f.is_file())
    assert small < 1e6 and load_audio("new.wav").shape == (2, 8 * 44_100)


def test_a_killed_call_keeps_the_numbers(tmp_path, monkeypatch):
    "What was added in the meantime does not take the number of a piece that is there already."
    top, folder = tmp_path / "rec", tmp_path / "c"
    save_audio(top / "m.wav", torch.tensor(sound(4, hertz=300).T))
    save_audio(top / "n.wav", torch.tensor(sound(4, hertz=500).T))
    def killed(*_): raise KeyboardInterrupt
    monkeypatch.setattr("msanii.corpus._collect", lambda results, *_: killed(next(iter(results))))
    with pytest.raises(KeyboardInterrupt): record_corpus(top, folder, seconds=2, **QUIET)
    monkeypatch.undo()
    assert (folder / "001.npy").exists()
    save_audio(top / "a.wav", torch.tensor(sound(2, hertz=700).T))
    record_corpus(top, folder, seconds=2, **QUIET)
    tops = [np.abs(np.fft.rfft(np.load(folder / f"{n:03d}.npy")[0, :44_100])).argmax() for n in range(1, 6)]
    assert tops == [300, 300, 500, 500, 700]
