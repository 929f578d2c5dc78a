"""The command line: what it refuses and how it says so, what it takes, several files at once, --json, --help,
and how little it needs."""
import json
import os
import re
import shlex
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import soundfile as sf

from msanii.app import NEEDS, command_parser, commands, examples, main
from msanii.tasks import TASKS, sha256
from msanii.pipeline import Msanii
from msanii.score import song_by_rules

RATE = 44100
HERE = Path(__file__).parents[1]
# an address that nobody answers at, so that a Hub id fails at once and nothing is asked of the network
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "0", "HF_ENDPOINT": "http://127.0.0.1:9",
       "PYTHONPATH": str(HERE)}


def tone(seconds=0.5, rate=RATE, channels=2):
    t = np.arange(round(seconds * rate)) / rate
    return 0.2 * np.sin(2 * np.pi * 220 * t)[:, None] * np.linspace(1, 0.5, channels)


def sounds(folder):
    "Sounds that can be used, and those that cannot."
    for name, *how in (("a.wav",), ("b.wav",), ("mono.wav", 0.5, RATE, 1), ("surround.wav", 0.5, RATE, 6),
                       ("8000.wav", 0.5, 8000), ("22050.wav", 0.5, 22050), ("96000.wav", 0.5, 96000)):
        sf.write(folder / name, tone(*how), how[1] if how else RATE)
    sf.write(folder / "one.wav", np.full((1, 1), 0.5), RATE)
    sf.write(folder / "silent.wav", np.zeros((RATE // 2, 2)), RATE)
    sf.write(folder / "nan.wav", np.full((RATE // 2, 2), np.nan, np.float32), RATE, subtype="FLOAT")
    (folder / "words.wav").write_text("not a sound")
    (folder / "empty.wav").touch()
    (folder / "cut.wav").write_bytes((folder / "a.wav").read_bytes()[:30])
    size = 140 * 3600 * 8000  # 140 hours of 8 bits, without a byte of them on the disk
    kind = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8)
    head = b"RIFF" + struct.pack("<I", size + 36) + b"WAVE" + kind + b"data" + struct.pack("<I", size)
    (folder / "long.wav").write_bytes(head)
    os.truncate(folder / "long.wav", size + 44)
    (folder / "again").mkdir()
    sf.write(folder / "again" / "a.wav", tone(), RATE)


def scores(folder):
    for name in ("a", "b"): song_by_rules(1, seconds=1).write(str(folder / f"{name}.mid"))
    pretty_midi.PrettyMIDI().write(str(folder / "quiet.mid"))
    drums = pretty_midi.PrettyMIDI()
    drums.instruments.append(pretty_midi.Instrument(0, is_drum=True))
    drums.instruments[0].notes.append(pretty_midi.Note(90, 38, 0.0, 0.2))
    drums.write(str(folder / "drums.mid"))
    for name, pitch, bend in (("high.mid", 110, 0), ("bent.mid", 60, 4000)):
        odd = pretty_midi.PrettyMIDI()
        odd.instruments.append(pretty_midi.Instrument(0))
        odd.instruments[0].notes.append(pretty_midi.Note(90, pitch, 0.0, 0.2))
        if bend: odd.instruments[0].pitch_bends.append(pretty_midi.PitchBend(bend, 0.1))
        odd.write(str(folder / name))
    (folder / "damaged.mid").write_bytes((folder / "a.mid").read_bytes()[:40])
    (folder / "empty.mid").touch()


def others(folder):
    "Models, corpora and recipes that cannot be used."
    for name in ("nothing", "lost", "torn", "garbled", "badcorpus", "holes", "songs", "midis", "tapes"):
        (folder / name).mkdir()
    (folder / "tapes" / "words.wav").write_text("no sound")
    for part in (folder / "model").iterdir():
        for to in ("torn", "garbled"): (folder / to / part.name).write_bytes(part.read_bytes())
    weights = (folder / "model" / "unet.safetensors").read_bytes()
    (folder / "torn" / "unet.safetensors").write_bytes(weights[:1000])
    (folder / "garbled" / "config.json").write_text('{"format": 1, "settings"')
    (folder / "badcorpus" / "corpus.json").write_text("{")
    about = dict(source="x", soundfont="x", sample_rate=RATE)
    lacking = {"001": 900000, "780": 900000}  # songs that are not there
    (folder / "holes" / "corpus.json").write_text(json.dumps({**about, "songs": lacking}))
    (folder / "songs" / "corpus.json").write_text(json.dumps({**about, "songs": {}}))
    (folder / "midis" / "damaged.mid").write_bytes(b"MThd")
    (folder / "words.json").write_text("{")
    (folder / "list.json").write_text("[1, 2]")
    (folder / "odd.json").write_text('{"flavour": "sweet"}')
    (folder / "zero.json").write_text('{"batch": 0}')
    (folder / "text.json").write_text('{"batch": "many"}')


@pytest.fixture(scope="module")
def place(model, tmp_path_factory):
    "A folder of good and bad inputs, and a small model."
    folder = tmp_path_factory.mktemp("place")
    model.save_pretrained(folder / "model")
    sounds(folder), scores(folder), others(folder)
    return folder


# What is typed, and words of the one line that must answer. {} stands for --out and --weights.
REFUSED = {
    # sounds
    "text": ("style-transfer words.wav {}", "words.wav cannot be read as sound"),
    "empty": ("style-transfer empty.wav {}", "empty.wav is empty", "give a sound file"),
    "missing": ("style-transfer none.wav {}", "none.wav: there is no such file", "check"),
    "folder": ("style-transfer nothing {}", "nothing is a folder", "give a sound file"),
    "cut off": ("style-transfer cut.wav {}", "cut.wav"),
    "nan": ("style-transfer nan.wav {}", "nan.wav holds NaN", "replace"),
    "140 hours": ("style-transfer long.wav {}", "long.wav lasts 504000 s", "cut it"),
    "inpaint text": ("inpaint words.wav 0-1 {}", "words.wav cannot be read as sound"),
    "outpaint nan": ("outpaint nan.wav {}", "nan.wav holds NaN", "replace"),
    "outpaint 140 hours": ("outpaint long.wav {}", "long.wav lasts 504000 s", "cut it"),
    "interpolate second": ("interpolate a.wav empty.wav {}", "empty.wav is empty", "give a sound file"),
    # scores
    "score missing": ("render none.mid {}", "none.mid: there is no such file"),
    "score empty": ("render empty.mid {}", "empty.mid cannot be read as MIDI", "give an undamaged"),
    "score damaged": ("render damaged.mid {}", "damaged.mid cannot be read as MIDI", "give an undamaged"),
    "score is sound": ("render a.wav {}", "a.wav cannot be read as MIDI", "give"),
    "score folder": ("render nothing {}", "nothing cannot be read", "give"),
    "score without notes": ("render quiet.mid {}", "quiet.mid holds no notes", "give"),
    "score of drums": ("render drums.mid {}", "drums.mid: the score holds drums alone", "give"),
    "score above the piano": (
        "render high.mid {}", "high.mid: no note of the score is a piano's key", "give others"),
    "score of a hole": ("inpaint a.wav 0.1-0.2 --score damaged.mid {}", "damaged.mid cannot be read as MIDI"),
    "score of what follows": ("outpaint a.wav --score none.mid {}", "none.mid: there is no such file"),
    # spans
    "span reversed": ("inpaint a.wav 0.4-0.2 {}", "a.wav: span (0.4, 0.2)", "start < end"),
    "span outside": ("inpaint a.wav 0.1-9 {}", "a.wav: span (0.1, 9) does not lie within the 0.5 s", "give"),
    "span of no length": ("inpaint a.wav 0.2-0.2 {}", "span (0.2, 0.2)", "give"),
    "span of words": ("inpaint a.wav start-end {}", "spans is start-end", "such as 3-5"),
    "span of one end": ("inpaint a.wav 3 {}", "spans is 3", "such as 3-5"),
    "span of three ends": ("inpaint a.wav 1-2-3 {}", "spans is 1-2-3", "such as 3-5"),
    "span of nan": ("inpaint a.wav nan-1 {}", "span (nan, 1)", "give"),
    "span before the start": ("inpaint a.wav -1-0.2 {}", "spans", "--help"),
    "no span": ("inpaint a.wav {}", "spans", "--help"),
    # numbers
    "strength above": ("style-transfer a.wav --strength 1.5 {}", "--strength is 1.5", "from 0 to 1"),
    "strength below": ("style-transfer a.wav --strength -0.1 {}", "--strength is -0.1", "from 0 to 1"),
    "strength nan": ("interpolate a.wav b.wav --strength nan {}", "--strength is nan", "from 0 to 1"),
    "strength of words": ("style-transfer a.wav --strength much {}",
                          "--strength: invalid float value: 'much'", "--help"),
    "ratio": ("interpolate a.wav b.wav --ratio 2 {}", "--ratio is 2.0", "from 0 to 1"),
    "guidance": ("render a.mid --guidance -1 {}", "--guidance is -1.0", "from 0 to 100"),
    "no seconds": ("sample --seconds 0 {}", "--seconds is 0.0", "give seconds"),
    "negative seconds": ("outpaint a.wav --seconds -3 {}", "--seconds is -3.0", "give seconds"),
    "nan seconds": ("sample --seconds nan {}", "--seconds is nan", "give seconds"),
    "endless": ("sample --seconds inf {}", "--seconds is inf", "give seconds"),
    "thirty years": ("sample --seconds 1e9 {}", "seconds is 1000000000", "the memory of this machine holds"),
    "no steps": ("sample --steps 0 {}", "--steps is 0", "1 or more"),
    "more steps than timesteps": (
        "style-transfer a.wav --strength 0.01 --steps 2000 --weights model --out out.wav",
        "a.wav: steps is 2000", "has 1000 timesteps", "give 1 to 1000"),
    "more passes than RePaint can use": (
        "inpaint a.wav 0.1-0.2 --method repaint --steps 100000 --weights model --out out.wav",
        "a.wav: steps is 100000", "takes 2990 passes", "give 1 to 2990"),
    "half a step": ("sample --steps 1.5 {}", "--steps: invalid int value: '1.5'", "--help"),
    "no batch": ("sample --batch 0 {}", "--batch is 0", "from 1"),
    "negative seed": ("sample --seed -1 {}", "--seed is -1", "from 0"),
    "huge seed": ("sample --seed 99999999999999999999 {}", "--seed is 99999999999999999999", "from 0"),
    "side": ("outpaint a.wav --side up {}", "--side: invalid choice: 'up'", "left"),
    "method": ("inpaint a.wav 0.1-0.2 --method magic {}", "--method: invalid choice: 'magic'", "repaint"),
    # where results go
    "format": ("sample --seconds 1 --weights model --out new.aiff", "new.aiff", "give a name that ends in"),
    "no format": ("sample --seconds 1 --weights model --out new", "new", "give a name that ends in"),
    "out is a folder": ("sample --seconds 1 --weights model --out folder.wav",
        "folder.wav is a folder", "give the name of a file"),
    "out in a file": ("sample --seconds 1 --weights model --out words.wav/new.wav",
        "words.wav/new.wav cannot be written", "choose another --out"),
    "two of one name": ("style-transfer a.wav again/a.wav {}",
        "two results would be called out-a.wav", "rename"),
    # models
    "no such weights": ("sample --seconds 1 --out out.wav --weights no_such_folder",
        "no_such_folder is neither a folder nor", "such as owner/name"),
    "weights without config": ("sample --seconds 1 --out out.wav --weights nothing",
        "nothing holds no config.json", "give a folder"),
    "weights with a damaged config": ("sample --seconds 1 --out out.wav --weights garbled",
        "config.json is damaged", "save the model anew"),
    "damaged weights": ("render a.mid --out out.wav --weights torn",
        "unet.safetensors cannot be loaded", "damaged"),
    "weights out of reach": ("sample --seconds 1 --out out.wav --weights nobody/nothing",
        "nobody/nothing is no folder here, and could not be had from the Hugging Face Hub"),
    # corpora and trainings
    "corpus of nothing": ("corpus --data nothing --out c", "nothing holds no MIDI files", "give a folder"),
    "corpus of a missing folder": ("corpus --data none --out c", "none: there is no such folder or zip"),
    "corpus of a text": ("corpus --data words.wav --out c", "words.wav is no undamaged zip file", "give"),
    "missing SoundFont": ("corpus --data composed --songs 1 --soundfont none.sf2 --out c",
        "none.sf2 is no SoundFont file", "give the path"),
    "a text for a SoundFont": ("corpus --data composed --songs 1 --soundfont words.wav --out c",
        "words.wav is no SoundFont file", "give the path"),
    "songs of words": ("corpus --data composed --songs best --out c", "--songs is 'best'", "give numbers"),
    "songs that are not there": ("corpus --data composed --songs 5000 --out c", "composed"),
    "far too many songs": ("corpus --data composed --songs 99999-99999999999 --out c", "composed"),
    "no processes": ("corpus --data composed --songs 1 --jobs 0 --out c", "--jobs is 0", "-1 for one a core"),
    "far too many processes": ("corpus --data composed --songs 1 --jobs 99999 --out c",
        "--jobs is 99999", "from -1 to 1024"),
    "half a reader": ("train unet --corpus songs --workers -1 --out m", "--workers is -1", "from 0 to 1024"),
    "corpus in a file": ("corpus --data composed --songs 1 --out words.wav",
        "--out is words.wav", "words.wav is a file", "give the name of a folder"),
    "training below a file": ("train unet --corpus songs --out words.wav/m",
        "--out is words.wav/m", "words.wav is a file", "give the name of a folder"),
    "report in a file": ("evaluate . --out words.wav", "--out is words.wav", "give the name of a folder"),
    "demo in a file": ("demo --out words.wav", "--out is words.wav", "give the name of a folder"),
    "a name that is too long": (f"sample --seconds 1 --weights model --out {'l' * 300}.wav", "name too long"),
    "an input of too long a name": (f"style-transfer {'l' * 300}.wav {{}}", "name too long"),
    "a score of too long a name": (f"render {'l' * 300}.mid {{}}", "name too long"),
    "a number of 300 digits": ("sample --seconds 1e300 {}", "seconds is 1e+300: the memory"),
    "half a second of each": ("corpus --data composed --songs 1 --seconds 0.5 --out c",
        "seconds is 0.5", "give 1 or more"),
    "unknown network": ("train flute --out m", "'flute'", "give vocoder or unet"),
    "unknown recipe": ("train unet --config huge --out m", "--config is 'huge'", "--show"),
    "recipe of words": ("train unet --config words.json --out m", "words.json is no recipe", "--show"),
    "recipe of a list": ("train unet --config list.json --out m", "list.json", "--show"),
    "recipe with an unknown setting": ("train unet --config odd.json --out m",
        "odd.json: Recipe: unknown settings flavour", "it has"),
    "recipe without a batch": ("train unet --config zero.json --out m",
        "zero.json: Recipe: batch is 0", "at least 1"),
    "recipe with words for numbers": ("train unet --config text.json --out m", "text.json"),
    "training of no steps": ("train unet --steps 0 --out m", "--steps is 0", "1 or more"),
    "training without a corpus": ("train unet --corpus none --out m",
        "none holds no rendered corpus", "msanii corpus"),
    "damaged corpus": ("train unet --corpus badcorpus --out m",
        "badcorpus holds no rendered corpus", "msanii corpus"),
    "corpus with holes": ("train unet --corpus holes --out m", "holes lacks 001.npy", "msanii corpus"),
    "init": ("train unet --corpus songs --init nothing --out m",
        "nothing/unet.safetensors cannot be loaded", "msanii train"),
    "recordings with an option of scores": ("corpus --data tapes --rests --out c",
        "--rests is for scores, and tapes holds recordings", "leave it out"),
    "pieces of half a second": ("corpus --data tapes --seconds 0.5 --out c", "seconds is 0.5", "1 or more"),
    "from nowhere": ("train unet --from none --corpus songs --out m", "none is neither a folder", "owner"),
    "from a folder without a model": ("train unet --from nothing --corpus songs --out m",
        "nothing holds no config.json", "give a folder"),
    "from with another recipe": ("train unet --from model --config small --corpus songs --out m",
        "the recipe does not fit the model", "width 192 (it has 16)", "leave that out"),
    "from and init": ("train unet --from model --init model --corpus songs --out m", "--init", "leave"),
    "from for a vocoder": ("train vocoder --from model --corpus songs --out m", "are for unet", "--init"),
    "into another model": ("train unet --from model --corpus songs --out torn", "torn holds another model",
        "choose another --out"),
    "rank": ("train unet --from model --rank 0 --corpus songs --out m", "--rank is 0", "1 or more"),
    "damaged init": ("train unet --corpus songs --init torn --out m",
        "torn/unet.safetensors cannot be loaded", "msanii train"),
    # folders to evaluate
    "evaluate nothing": ("evaluate nothing --out e", "nothing holds no sound files", "give a folder"),
    "evaluate a missing folder": ("evaluate none --out e", "none, which is no folder", "give a folder"),
    "evaluate a file": ("evaluate a.wav --out e", "a.wav, which is no folder", "give a folder"),
    "evaluate against nothing": ("evaluate again nothing --out e",
        "nothing holds no sound files", "give a folder"),
    # commands
    "unknown command": ("sing", "no command 'sing'", "choose one of sample"),
    "unknown option": ("sample --strenght 1 {}", "--strenght", "--help"),
    "no file": ("render {}", "scores", "--help"),
    "one of two files": ("interpolate a.wav {}", "b", "--help"),
    "one file too many": ("interpolate a.wav b.wav mono.wav {}", "mono.wav", "--help"),
    "port": ("app --port 99999", "--port is 99999", "from 1 to 65535"),
}

# What is typed, and the seconds of each result.
TAKEN = {
    "one sample": ("style-transfer one.wav {}", {"out.wav": 1 / RATE}),
    "silence": ("style-transfer silent.wav {}", {"out.wav": 0.5}),
    "mono": ("style-transfer mono.wav {}", {"out.wav": 0.5}),
    "5.1": ("inpaint surround.wav 0.1-0.2 {}", {"out.wav": 0.5}),
    "8 kHz": ("outpaint 8000.wav --seconds 0.5 {}", {"out.wav": 1.0}),
    "22.05 kHz": ("style-transfer 22050.wav {}", {"out.wav": 0.5}),
    "96 kHz": ("interpolate 96000.wav a.wav {}", {"out.wav": 0.5}),
    "spans that overlap": ("inpaint a.wav 0.1-0.3 0.2-0.4 {}", {"out.wav": 0.5}),
    "a whole piece": ("inpaint a.wav 0-0.5 {}", {"out.wav": 0.5}),
    "options between files": ("inpaint a.wav 0.1-0.2 --seed 3 0.3-0.4 {}", {"out.wav": 0.5}),
    "strength 0": ("style-transfer a.wav --strength 0 {}", {"out.wav": 0.5}),
    "as many steps as timesteps": (
        "style-transfer a.wav --strength 0.01 --steps 1000 --weights model --out out.wav",
        {"out.wav": 0.5}),
    "a folder that is not there": ("sample --seconds 0.5 --steps 1 --weights model --out new/deep/out.flac",
        {"new/deep/out.flac": 0.5}),
    "pieces by their seeds": ("sample --seconds 0.5 --batch 2 --seed 7 {}",
        {"out-7.wav": 0.5, "out-8.wav": 0.5}),
    "several files": ("style-transfer a.wav b.wav {}", {"out-a.wav": 0.5, "out-b.wav": 0.5}),
    "several to continue": ("outpaint a.wav b.wav --seconds 0.5 --side both {}",
        {"out-a.wav": 1.5, "out-b.wav": 1.5}),
    "over what it came from": ("style-transfer a.wav --steps 1 --weights model --out a.wav", {"a.wav": 0.5}),
}

# A process costs two seconds, most of them imports. So all rows go through `main` in this process, and those
# that differ in kind also through one of their own: nothing there can differ but what happens before `main`,
# and how a process ends.
PROCESSES = ["text", "140 hours", "score damaged", "nan seconds", "out in a file", "weights out of reach",
             "missing SoundFont", "recipe with an unknown setting", "corpus with holes", "evaluate nothing",
             "unknown command", "unknown option"]


def words(line):
    steps = "" if "--steps" in line else "--steps 1 "
    return shlex.split(line.replace("{}", steps + "--out out.wav --weights model"))


def here(place, folder):
    "The inputs in a folder of their own, by links; what lies there already is an older result."
    for path in place.iterdir(): (folder / path.name).symlink_to(path)
    (folder / "a.wav").unlink(), (folder / "a.wav").write_bytes((place / "a.wav").read_bytes())
    (folder / "folder.wav").mkdir()
    (folder / "out.wav").write_bytes(b"older")
    return folder


def tree(folder): return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def check_refusal(code, out, err, parts, folder, before):
    assert code == 2 and out == "", (code, out, err)
    assert len(err.splitlines()) == 1 and err.startswith("msanii") and "Traceback" not in err, err
    for part in parts: assert part in err, (part, err)
    assert (folder / "out.wav").read_bytes() == b"older", "nothing is replaced"
    assert tree(folder) == before, "nothing is left behind"


def without_bars(text):
    "The error stream without the progress bars that were drawn and wiped."
    lines = [line.rpartition("\r")[2] for line in text.splitlines()]
    return "\n".join(line for line in lines if line.strip()) + "\n"


@pytest.mark.parametrize("row", REFUSED)
def test_refused(place, tmp_path, monkeypatch, capsys, row):
    # the process below asks in earnest
    if row == "weights out of reach":
        monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *args, **kwargs: 1 / 0)
    monkeypatch.chdir(here(place, tmp_path))
    before = tree(tmp_path)
    code = main(words(REFUSED[row][0]))
    out, err = capsys.readouterr()
    check_refusal(code, out, without_bars(err), REFUSED[row][1:], tmp_path, before)


@pytest.mark.parametrize("row", PROCESSES)
def test_refused_by_a_process(place, tmp_path, row):
    before = tree(here(place, tmp_path))
    done = subprocess.run([sys.executable, "-m", "msanii.app", *words(REFUSED[row][0])], cwd=tmp_path,
                          env=ENV, capture_output=True, text=True)
    check_refusal(done.returncode, done.stdout, without_bars(done.stderr), REFUSED[row][1:], tmp_path, before)


@pytest.mark.parametrize("row", TAKEN)
def test_taken(place, tmp_path, monkeypatch, capsys, row):
    "It ends well, and what comes out is stereo at 44.1 kHz, of the length that it should have."
    monkeypatch.chdir(here(place, tmp_path))
    line, results = TAKEN[row]
    assert main(words(line)) == 0
    out, err = capsys.readouterr()
    assert "Traceback" not in err and [said.split(":")[0] for said in out.splitlines()] == list(results)
    for name, seconds in results.items():
        info = sf.info(tmp_path / name)
        assert (info.channels, info.samplerate, info.frames) == (2, RATE, round(seconds * RATE))


def test_spans_that_overlap_are_one(place, tmp_path, monkeypatch):
    monkeypatch.chdir(here(place, tmp_path))
    assert main(words("inpaint a.wav 0.1-0.3 0.2-0.4 {}")) == 0
    assert main(["inpaint", "a.wav", "0.1-0.4", *words("--steps 1 --weights model --out one.wav")]) == 0
    assert sha256("out.wav") == sha256("one.wav")


def test_channels(place, tmp_path, monkeypatch):
    "Mono comes out on both sides alike where nothing is made anew; more than two channels are mixed."
    monkeypatch.chdir(here(place, tmp_path))
    for name in ("mono.wav", "surround.wav"):
        assert main(words(f"inpaint {name} 0.3-0.4 {{}}")) == 0
        kept = sf.read("out.wav")[0][: round(0.2 * RATE)]
        assert np.array_equal(kept[:, 0], kept[:, 1])
        assert np.abs(kept[:, 0] - sf.read(name, always_2d=True)[0].mean(1)[: len(kept)]).max() < 1e-3


def test_a_word_about_channels(place, tmp_path, monkeypatch, capsys):
    "What is not stereo is named on the error stream, each file once, and in --json; what is stereo is not."
    monkeypatch.chdir(here(place, tmp_path))
    said = ["mono.wav is mono: its channel is taken for both left and right",
            "surround.wav has 6 channels: their mean is taken for both left and right"]
    assert main([*words("style-transfer mono.wav a.wav surround.wav {}"), "--json"]) == 0
    out, err = capsys.readouterr()
    words_about = lambda err: [line for line in without_bars(err).splitlines() if line.startswith("msanii")]
    assert json.loads(out)["warnings"] == said and words_about(err) == [f"msanii: {line}" for line in said]
    for line in ("inpaint mono.wav 0.1-0.2 {}", "outpaint mono.wav --seconds 0.5 {}",
                 "interpolate mono.wav mono.wav {}"):
        assert main(words(line)) == 0 and words_about(capsys.readouterr().err) == [f"msanii: {said[0]}"]
    assert main([*words("interpolate a.wav b.wav {}"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["warnings"] == []


def test_a_word_about_bends_and_nonsense(place, tmp_path, monkeypatch, capsys):
    "What of a score is not played is named, each file once."
    monkeypatch.chdir(here(place, tmp_path))
    track = bytes.fromhex("00b007ff00903c5a8360803c0000ff2f00")  # a volume of 255
    head = b"MThd" + struct.pack(">IHHH", 6, 1, 1, 480) + b"MTrk"
    Path("odd.mid").write_bytes(head + struct.pack(">I", len(track)) + track)
    assert main([*words("render a.mid bent.mid odd.mid {}"), "--json"]) == 0
    said = ["bent.mid bends the pitch of notes: this is left out, each note keeps that of its key",
            "odd.mid is played, but for what makes no sense in it: data byte above 127 (1)"]
    assert json.loads(capsys.readouterr().out)["warnings"] == said


def test_a_word_about_notes_that_are_no_keys(place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(here(place, tmp_path))
    score = song_by_rules(0, 1)
    keys = [n for i in score.instruments if not i.is_drum for n in i.notes]
    keys[0].pitch, keys[1].pitch = 5, 120
    score.write("wide.mid")
    assert main([*words("render a.mid wide.mid {}"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["warnings"] == [
        f"wide.mid: 2 of {len(keys)} notes are no keys of a piano, which has 21 to 108: they are left out"]


def test_every_word_names_its_file(place, tmp_path, monkeypatch, capsys):
    "Also one that comes from deep inside, and says the same of several files."
    monkeypatch.chdir(here(place, tmp_path))
    square = 0.999 * np.sign(np.sin(np.arange(RATE) / 50))
    for name in ("loud.wav", "louder.wav"): sf.write(name, np.stack([square] * 2, 1), RATE)
    assert main([*words("style-transfer loud.wav louder.wav a.wav {}"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["warnings"]
    assert [line.split(":")[0] for line in said] == ["loud.wav", "louder.wav"], said
    assert all("quieter than the original" in line for line in said)
    assert main([*words("interpolate loud.wav louder.wav {}"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["warnings"][0].startswith("loud.wav and louder.wav: ")


def test_a_fault_among_several(place, tmp_path, monkeypatch, capsys):
    "The rest is made, each fault is a line, and --json tells of both."
    monkeypatch.chdir(here(place, tmp_path))
    line = words("style-transfer a.wav words.wav b.wav empty.wav {}")
    assert main([*line, "--json"]) == 2
    out, err = capsys.readouterr()
    faults = [said for said in without_bars(err).splitlines() if said.startswith("msanii style-transfer: ")]
    assert len(faults) == 2 and "words.wav cannot be read" in faults[0] and "empty.wav is empty" in faults[1]
    made = json.loads(out)
    assert [file["inputs"] for file in made["files"]] == [["a.wav"], ["b.wav"]] and len(made["faults"]) == 2
    assert all(f"msanii style-transfer: {fault}" in err for fault in made["faults"])
    assert sorted(Path().glob("out-*")) == [Path("out-a.wav"), Path("out-b.wav")]


def test_a_fault_of_several_pieces_is_told_once(place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(here(place, tmp_path))
    assert main([*words("sample --seconds 0.5 --batch 3 --steps 1001 {}"), "--json"]) == 2
    fault = ("steps is 1001, but this model's schedule has 1000 timesteps, each visited once at most: "
             "give 1 to 1000")
    assert json.loads(capsys.readouterr().out)["faults"] == [fault]


def test_files_come_out_as_they_would_alone(place, tmp_path, monkeypatch):
    monkeypatch.chdir(here(place, tmp_path))
    assert main(words("render a.mid b.mid --seed 3 {}")) == 0
    assert main(words("render b.mid --seed 3 {}")) == 0
    assert sha256("out-b.wav") == sha256("out.wav")


def test_json(place, tmp_path, monkeypatch, capsys):
    "One line that says what was made, with which a program can check it and make it again."
    monkeypatch.chdir(here(place, tmp_path))
    lines = ["sample --seconds 0.5 --batch 2 --seed 5", "render a.mid", "style-transfer a.wav",
             "inpaint a.wav 0.1-0.2", "outpaint a.wav --seconds 0.5", "interpolate a.wav b.wav"]
    for line in lines:
        assert main([*words(line + " {}"), "--json"]) == 0
        out = capsys.readouterr().out
        assert out.count("\n") == 1
        made = json.loads(out)
        assert made["steps"] == 1 and made["weights"] == "model"
        assert made["model_sha256"] == Msanii.from_pretrained("model").fingerprint() and made["faults"] == []
        for file in made["files"]:
            assert file["sha256"] == sha256(file["file"])
            assert file["seconds"] == round(sf.info(file["file"]).duration, 3)
            assert file["seed"] == {"out-5.wav": 5, "out-6.wav": 6}.get(file["file"], 0)
            Path(file["file"]).unlink()
        again = shlex.split(made["command"])
        assert again[0] == "msanii" and main(again[1:]) == 0
        assert [sha256(file["file"]) for file in made["files"]] == [file["sha256"] for file in made["files"]]
        capsys.readouterr()
    assert main(["sample", "--seconds", "0", "--json"]) == 2
    faults = ["--seconds is 0.0: give seconds, 0.01 or more"]
    assert json.loads(capsys.readouterr().out) == dict(command="msanii sample --seconds 0", faults=faults)


def test_json_of_a_corpus_and_a_training(place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words("corpus --data composed --songs 1 --seconds 4 --jobs 1 --out c --json")) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["songs"] == 1 and 4 <= made["seconds"] <= 6 and made["files"] == [dict(file="c/corpus.json")]
    recipe = dict(network=dict(width=16, prior=True), steps=2, batch=2, frames=32)
    Path("recipe.json").write_text(json.dumps(recipe))
    assert main(words("train vocoder --corpus c --config recipe.json --out m --json")) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["steps"] == 2 and all(Path(file["file"]).is_file() for file in made["files"])
    corpora = json.loads(Path("m/vocoder.history.json").read_text())["corpora"]  # what it was trained on
    about = [(c["source"], c["songs"], c["seconds"]) for c in corpora]
    assert about == [("composed songs of 60.0 s, seed 0", 1, 4)]


def test_damaged_songs(place, tmp_path, monkeypatch, capsys):
    "Of a folder of scores the damaged ones are named and left out; where no other is left, that is a fault."
    monkeypatch.chdir(here(place, tmp_path))
    assert main(words("corpus --data midis --jobs 1 --out c --json")) == 2
    err = without_bars(capsys.readouterr().err).splitlines()
    fault = "msanii corpus: none of the 1 songs could be used: give others; midis/damaged.mid"
    assert err[-1].startswith(fault)
    Path("more").mkdir()
    for name in ("a.mid", "damaged.mid"): Path("more", name).symlink_to(place / name)
    assert main(words("corpus --data more --jobs 1 --out d --json")) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["songs"] == 1 and list(json.loads(out)["damaged"]) == ["002"]
    assert "more/damaged.mid" in err and "Traceback" not in err


@pytest.mark.parametrize("name", commands())
def test_help(name, capsys):
    "It says what each option is and ends with examples, all of which can be typed."
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert commands()[name].__doc__.split(":")[0].split(".")[0] in text and "examples:\n  msanii " in text
    for action in command_parser(name)._actions:
        assert action.help and action.help.count("(default") <= 1
        assert not re.search(r"default: (\[|False)", action.help)
        assert not any("_" in option for option in action.option_strings), "as other programs write them"
    for example in examples(name):
        line = re.sub(r"\s+(#|>).*", "", example)
        assert line in text
        typed = shlex.split(line)[shlex.split(line).index(name) + 1:]
        command_parser(name).parse_intermixed_args(typed)


@pytest.mark.parametrize("name", TASKS)
def test_a_setting_has_one_default(name):
    "What a command takes if nobody says is what its row in the table says, also where it is written by hand."
    parser = command_parser(name)
    for p in TASKS[name].parameters:
        typed = [action.default for action in parser._actions if action.dest == p.name]
        assert all(default in (None, p.default) for default in typed), p.name


def test_options_of_several_words():
    "With hyphens; with the underscore of the parameter, as it was once, too."
    for typed in ("--no-browser", "--no_browser"):
        assert command_parser("app").parse_args([typed]).no_browser is True
    assert command_parser("app").parse_args([]).no_browser is False


def test_usage(capsys):
    assert main([]) == 0 and main(["--help"]) == 0 and main(["--version"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in commands()) and re.search(r"^msanii \d+\.\d+\.\d+$", out, re.M)


def test_a_command_starts_without_what_it_seldom_needs():
    "Pictures, the Hub, training and measures are loaded where they are used: each takes a moment."
    seldom = ("matplotlib", "huggingface_hub", "accelerate", "librosa", "ipywidgets", "onnxruntime")
    code = f"import sys, msanii.app; print([name for name in {seldom} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], env=ENV, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_a_process_that_works(place, tmp_path):
    "The installed command, its two streams and its exit code."
    command = Path(sys.executable).with_name("msanii")
    start = [command] if command.exists() else [sys.executable, "-m", "msanii.app"]
    done = subprocess.run([*start, *words("render a.mid b.mid {}"), "--json"], cwd=here(place, tmp_path),
                          env=ENV, capture_output=True, text=True)
    assert done.returncode == 0 and len(json.loads(done.stdout)["files"]) == 2
    assert "out-a.wav: " in done.stderr, "words go to the error stream"
    assert "files: " in done.stderr, "and so does the bar"


# What a pipeline, a terminal and a file system may do that people do not

def shell(line, folder, **env):
    "Run a line of a shell in which `msanii` is this one."
    line = line.replace("msanii ", f"{shlex.quote(sys.executable)} -m msanii.app ")
    return subprocess.run(["bash", "-c", "set -o pipefail; " + line], cwd=folder, env={**ENV, **env},
                          capture_output=True, text=True, errors="surrogateescape")


def test_names_that_are_no_text(place, tmp_path):
    "Names of bytes, and of letters that the terminal lacks: the files are made, and those behind them."
    folder = here(place, tmp_path)
    odd = os.fsdecode(b"b\xff.mid")
    try: (folder / odd).write_bytes((place / "b.mid").read_bytes())
    except OSError: pytest.skip("this file system takes text alone")
    (folder / "c\u00e9.mid").write_bytes((place / "b.mid").read_bytes())
    quoted = " ".join(shlex.quote(name) for name in ("a.mid", odd, "c\u00e9.mid", "b.mid"))
    for encoding, shown in (("utf-8", "b\\udcff.mid"), ("ascii", "c\\xe9.mid")):
        line = f"msanii render {quoted} --steps 1 --weights model"
        done = shell(line + " --json", folder, PYTHONIOENCODING=encoding)
        assert done.returncode == 0 and shown in done.stderr, done
        made = json.loads(done.stdout)
        assert len(made["files"]) == 4 and not made["faults"]
        done = shell(line, folder, PYTHONIOENCODING=encoding)
        assert done.returncode == 0 and len(done.stdout.splitlines()) == 4, done
    sound = shlex.quote(os.fsdecode(b"render-b\xff.wav"))
    done = shell(f"msanii style-transfer {sound} a.wav --steps 1 --weights model", folder)
    assert done.returncode == 0 and (folder / os.fsdecode(b"style-transfer-render-b\xff.wav")).is_file(), done


def test_songs_whose_names_are_no_text(place, tmp_path):
    "A corpus of them, and of recordings; what cannot be used is told."
    mids, sounds = tmp_path / "mids", tmp_path / "sounds"
    mids.mkdir(), sounds.mkdir()
    odd = os.fsdecode(b"b\xff")
    try: (mids / f"{odd}.mid").write_bytes((place / "b.mid").read_bytes())
    except OSError: pytest.skip("this file system takes text alone")
    (sounds / f"{odd}.flac").write_bytes(b"none")
    sf.write(os.fsencode(sounds / f"{odd}.wav"), 0.1 * np.random.default_rng(0).normal(size=(RATE, 2)), RATE)
    for data, many in (("mids", "1 song"), ("sounds", "1 piece")):
        done = shell(f"msanii corpus --data {data} --out {data}/corpus --jobs 1", tmp_path)
        assert done.returncode == 0 and f"{data}/corpus: {many} of" in done.stdout, done
    assert ".flac cannot be read as sound" in done.stderr, done


def test_a_long_name_among_several(place, tmp_path, monkeypatch, capsys):
    "Its result would have a name longer than a file may have: the others are made."
    monkeypatch.chdir(here(place, tmp_path))
    long = "l" * 248 + ".wav"
    Path(long).write_bytes(Path("b.wav").read_bytes())
    assert main(words(f"style-transfer {long} a.wav {{}}")) == 2
    assert "name too long" in capsys.readouterr().err and Path("out-a.wav").is_file()


def test_a_report_of_names_that_are_no_text(place, tmp_path):
    folder = here(place, tmp_path)
    (folder / "music").mkdir()
    sf.write(folder / "3.wav", tone(3), RATE)
    for name in (b"a.wav", b"b\xff.wav"):
        try: (folder / "music" / os.fsdecode(name)).write_bytes((folder / "3.wav").read_bytes())
        except OSError: pytest.skip("this file system takes text alone")
    done = shell("msanii evaluate music --jobs 1 --out e", folder)
    assert done.returncode == 0, done
    assert "b\\udcff.wav" in (folder / "e" / "report.html").read_text()


@pytest.mark.parametrize("name", ("-x.mid", "--out.mid", "--"))
def test_names_that_begin_with_a_hyphen(place, tmp_path, monkeypatch, name):
    monkeypatch.chdir(here(place, tmp_path))
    Path(name).write_bytes((place / "a.mid").read_bytes())
    assert main([*words("render {}"), "--", name]) == 0 and sf.info("out.wav").frames > RATE
    assert main([*words("render a.mid {}"), "--", name, "b.mid"]) == 0
    assert Path("out-a.wav").is_file() and Path("out-b.wav").is_file()


def test_a_reader_that_leaves(place, tmp_path):
    "It is no fault, nothing is said of it, and what was asked for is made."
    folder = here(place, tmp_path)
    for line in ("msanii --help", "msanii render --help", "msanii --version"):
        done = shell(f"{line} | true", folder)
        assert done.returncode == 0 and done.stderr == "", done
    done = shell("msanii render a.mid b.mid --steps 1 --weights model | true", folder)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done
    assert (folder / "render-b.wav").is_file()


@pytest.mark.parametrize("closed", ("2>&-", ">&-", ">&- 2>&-", "<&-"))
def test_streams_that_are_closed(place, tmp_path, closed):
    "Words are lost, music is not; and no file takes a stream's number, so that words would go into it."
    folder = here(place, tmp_path)
    done = shell(f"msanii render a.mid b.mid mono.wav --steps 1 --weights model {closed}", folder)
    assert done.returncode == 2, done
    for name in ("render-a.wav", "render-b.wav"): assert sf.info(folder / name).frames > RATE


def test_ctrl_c_while_it_is_loaded(place, tmp_path):
    "Whenever it comes, there is no traceback."
    folder = here(place, tmp_path)
    lost = 0
    for wait in (0.3, 0.8, 1.5, 2.5):
        call = subprocess.Popen([sys.executable, "-m", "msanii.app", *words("sample --seconds 300 {}")],
                                cwd=folder, env=ENV, stderr=subprocess.PIPE, text=True,
                                # tests that a shell runs in the background ignore it, and so would this
                                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        time.sleep(wait)
        call.send_signal(signal.SIGINT)
        err = call.communicate(timeout=60)[1]
        if call.returncode == 0:  # on a busy machine Python, which is still starting, may lose it
            lost += 1
            continue
        # before the first line of ours, Python itself is interrupted
        ours = "msanii" in err or call.returncode == -signal.SIGINT
        assert call.returncode in (130, -signal.SIGINT) and ("Traceback" not in err or not ours), (wait, err)
    assert lost < 2


def test_a_link_stays_a_link(place, tmp_path, monkeypatch):
    "What it points to is replaced, there or not."
    monkeypatch.chdir(here(place, tmp_path))
    Path("elsewhere").mkdir()
    Path("link.wav").symlink_to("elsewhere/result.wav")
    for _ in range(2):
        assert main(words("style-transfer a.wav --steps 1 --weights model --out link.wav")) == 0
        assert Path("link.wav").is_symlink() and sf.info("elsewhere/result.wav").frames == RATE // 2
    assert [p.name for p in Path("elsewhere").iterdir()] == ["result.wav"]


def test_a_pipe_for_a_file(place, tmp_path):
    folder = here(place, tmp_path)
    done = shell("cat a.wav | msanii style-transfer /dev/stdin --steps 1 --weights model", folder)
    assert done.returncode == 2 and "/dev/stdin is a stream or a device and no file: " in done.stderr, done
    done = shell("cat a.mid | msanii render /dev/stdin --steps 1 --weights model --out p.wav", folder)
    assert done.returncode == 0 and sf.info(folder / "p.wav").frames, done


def test_a_model_of_another_format(place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(here(place, tmp_path))
    Path("later").mkdir()
    for part in (place / "model").iterdir(): (Path("later") / part.name).write_bytes(part.read_bytes())
    config = json.loads(Path("later/config.json").read_text())
    for number in (2, 0, None, "1"):
        Path("later/config.json").write_text(json.dumps(config | dict(format=number)))
        for command in ("render a.mid", "evaluate later --pieces 1 --seconds 1 --out e"):
            to = "" if "evaluate" in command else " --out out.wav --weights later"
            assert main(shlex.split(command + to)) == 2
            assert f"config.json is of format {number}, and this version" in capsys.readouterr().err


SHORT_OF_MEMORY = """
import resource, sys
from msanii.app import main
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 400_000_000,) * 2)
sys.exit(main(sys.argv[1:]))
"""


def test_too_little_memory(place, tmp_path):
    "One line, not a killed process or a traceback."
    if not Path("/proc/self/statm").exists(): pytest.skip("needs Linux's /proc")
    done = subprocess.run([sys.executable, "-c", SHORT_OF_MEMORY, *words("sample --seconds 1800 {}")],
                          cwd=here(place, tmp_path), env=ENV, capture_output=True, text=True)
    assert done.returncode == 2 and "memory is not enough" in done.stderr, done
    assert "Traceback" not in done.stderr, done


LIGHT = """
import importlib.metadata as md, re, sys
from packaging.requirements import Requirement

def closure(names):
    "The distributions that these and what they need bring along."
    found, todo = set(), list(names)
    while todo:
        name = re.sub("[-_.]+", "-", todo.pop()).lower()
        if name in found: continue
        found.add(name)
        try: needs = map(Requirement, md.requires(name) or [])
        except md.PackageNotFoundError: continue
        todo += [r.name for r in needs if r.marker is None or r.marker.evaluate({"extra": ""})]
    return found

def modules(names):
    "What these distributions have to import, by their files: packages_distributions misses some before 3.11."
    found = set()
    for name in names:
        try: files = md.files(name) or []
        except md.PackageNotFoundError: continue
        found |= {path.parts[0].removesuffix(".py") for path in files if path.suffix == ".py"}
    return {name for name in found if name.isidentifier()}

core = closure(sys.argv[1].split())
blocked = modules(closure(sys.argv[2].split()) - core) - modules(core)
for module in blocked: sys.modules[module] = None  # to import it is an ImportError
assert {"accelerate", "librosa", "ipywidgets", "voila", "torchaudio"} <= blocked
assert not {"torch", "matplotlib", "IPython"} & blocked

from msanii import Msanii
from msanii.app import main
Msanii.from_pretrained()
how = ["--steps", "1", "--weights", "model"]
assert main(["sample", "--seconds", "0.5", *how]) == 0
assert main(["render", "a.mid", *how]) == 0
assert main(["style-transfer", "a.wav", *how]) == 0
assert main(["inpaint", "a.wav", "0.1-0.2", *how]) == 0
assert main(["demo", "--seconds", "1", "--data", "midi", *how]) == 0
assert main(["corpus", "--data", "midi", "--jobs", "1"]) == 0
for command in ("train unet", "evaluate nothing", "app"): assert main(command.split()) == 2
"""


def test_the_core_is_light(place, tmp_path):
    "Where no extra is installed, music can be made; and what cannot be done says which extra to install."
    from configparser import ConfigParser
    settings = ConfigParser(delimiters=["="])
    settings.read(HERE / "settings.ini")
    names = lambda text: " ".join(re.match(r"[\w.-]+", word)[0]
                                  for word in text.split() if not word.startswith("msanii["))
    values = settings["DEFAULT"]
    folder = here(place, tmp_path)
    (folder / "midi").mkdir(), (folder / "midi" / "a.mid").symlink_to(place / "a.mid")
    # enough of them that some are held out
    for number in range(1, 50): (folder / "midi" / f"b{number}.mid").symlink_to(place / "b.mid")
    extras = " ".join(values[key] for key in values if key.endswith("_requirements"))
    done = subprocess.run([sys.executable, "-c", LIGHT, names(values["requirements"]), names(extras)],
                          cwd=folder, env=ENV, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    refusals = [line for line in done.stderr.splitlines() if "pip install" in line]
    for line, (name, packages) in zip(refusals, NEEDS.items()):
        assert f"msanii {name}: " in line and f"'msanii[{name}]'" in line
        assert all(package in line for package in packages)
        assert all(package.replace("_", "-") in values[f"{name}_requirements"].replace("_", "-")
                   for package in packages)
    assert len(refusals) == len(NEEDS)
