"""What 48_render cannot hold: scores of all kinds on a tiny network, the real command, and the weights in the
package."""
import os
import subprocess
import sys
from pathlib import Path

import pretty_midi
import pytest
import torch
from hypothesis import given, settings, strategies as st

from msanii import Msanii
from msanii.audio import InputError, load_audio
from msanii.pipeline import WEIGHTS

RATE = 44_100
keys = st.integers(0, 127)


def score(*notes, program=0, drum=False, name=""):
    midi = pretty_midi.PrettyMIDI()
    midi.instruments.append(pretty_midi.Instrument(program, drum, name))
    midi.instruments[0].notes = [pretty_midi.Note(100, pitch, start, end) for pitch, start, end in notes]
    return midi


@settings(max_examples=15, deadline=None)
@given(notes=st.lists(st.tuples(keys, st.floats(0, 2), st.floats(0.001, 1)), min_size=1, max_size=8),
       tail=st.floats(0, 1), program=keys)
def test_any_notes_give_their_length(model, notes, tail, program):
    midi = score(*((p, s, s + d) for p, s, d in notes), program=program)
    if not any(21 <= p <= 108 for p, *_ in notes):
        with pytest.raises(InputError, match="is a piano's key"): model.render(midi, progress=False)
        return
    waveform = model.render(midi, tail=tail, progress=False)
    assert waveform.shape == (2, max(1, round((midi.get_end_time() + tail) * RATE)))
    assert waveform.isfinite().all() and waveform.abs().max() <= 1


def test_it_ends_with_its_last_sound(model):
    "A word, a metre or a controller minutes later is not heard."
    midi = score((60, 0, 0.5))
    midi.lyrics.append(pretty_midi.Lyric("la", 300))
    midi.time_signature_changes.append(pretty_midi.TimeSignature(3, 4, 300))
    midi.instruments[0].control_changes.append(pretty_midi.ControlChange(7, 90, 300))
    assert model.render(midi, progress=False).shape == (2, round(1.5 * RATE))
    midi.instruments[0].control_changes = [pretty_midi.ControlChange(64, v, t) for v, t in ((90, 0), (0, 2))]
    assert model.render(midi, progress=False).shape == (2, 3 * RATE), "the pedal holds it until then"


def test_seed_and_bits(model):
    midi = score((60, 0, 0.5), (64, 0.5, 1))
    a = model.render(midi, seed=3, progress=False)
    assert torch.equal(a, model.render(midi, seed=3, progress=False))
    assert not torch.equal(a, model.render(midi, seed=4, progress=False))
    other = score((61, 0, 0.5), (64, 0.5, 1))
    assert not torch.equal(a, model.render(other, seed=3, progress=False)), "a note matters"


def test_roles_matter(model):
    notes = [(60, 0, 0.5), (67, 0.2, 0.9)]
    played = lambda name: model.render(score(*notes, name=name), progress=False)
    assert not torch.equal(played("MELODY"), played("PIANO"))
    assert torch.equal(played("strings"), played("PIANO"))


def test_windows_of_a_long_score(model):
    midi = score(*((60 + i % 12, 0.5 * i, 0.5 * i + 0.4) for i in range(12)))
    waveform = model.render(midi, window=2, progress=False)
    assert waveform.shape == (2, round((midi.get_end_time() + 1) * RATE)) and waveform.isfinite().all()


@pytest.mark.parametrize("midi, words", [
    (score((36, 0, 1), drum=True), "drums alone"), (score(), "no notes"),
    (score((109, 0, 1), (127, 1, 2)), "is a piano's key"), (score((0, 0, 1), (20, 1, 2)), "is a piano's key"),
    (b"MThd\0\0", "MIDI"), ("none.mid", "none.mid")])
def test_scores_that_cannot_be(model, midi, words):
    with pytest.raises(InputError, match=words): model.render(midi, progress=False)


def test_command(model, model_folder, tmp_path):
    midi = score((60, 0, 0.5), (64, 0.5, 1))
    midi.write(str(tmp_path / "a.mid"))
    def render(name, *more):
        words = ["render", tmp_path / name, "--seed", 2, "--weights", model_folder, *more]
        return subprocess.run([Path(sys.executable).parent / "msanii", *map(str, words)],
                              capture_output=True, text=True)
    done = render("a.mid", "--out", tmp_path / "a.wav")
    assert done.returncode == 0, done.stderr
    expected = model.render(str(tmp_path / "a.mid"), seed=2, progress=False).cpu()
    torch.testing.assert_close(load_audio(tmp_path / "a.wav"), expected, atol=1 / 32767, rtol=0)
    (tmp_path / "text.mid").write_text("not a score")
    done = render("text.mid")
    assert done.returncode == 2 and "text.mid" in done.stderr and done.stderr.strip().count("\n") == 0


def test_what_does_not_fit_into_the_memory(model, monkeypatch):
    "The length is named before anything is made; a stream takes it."
    monkeypatch.setattr("msanii.walk.memory", lambda device: 100e6)
    long = score((60, 7300, 7301))
    with pytest.raises(InputError, match="score's length in seconds is 7302.*take `stream`"):
        model.render(long, progress=False)
    with pytest.raises(InputError, match="seconds is 7300"): model.sample(7300, progress=False)
    chunk = next(model.stream(score=long, steps=1, window=2))
    assert chunk.shape[0] == 2 and chunk.isfinite().all()


LOAD = """
import time
from msanii import Msanii
began = time.perf_counter()
m = Msanii.from_pretrained(device="cpu")
print("score" in m.condition, time.perf_counter() - began)
"""


def test_weights_in_the_package():
    "They are there, small enough, loaded without a network connection, and quickly."
    assert sum(p.stat().st_size for p in WEIGHTS.iterdir() if p.suffix != ".onnx") <= 95e6
    alone = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", LOAD], capture_output=True, text=True, check=True, env=alone)
    conditional, seconds = done.stdout.splitlines()[-1].split()
    assert conditional == "True" and float(seconds) < 20  # two seconds on a quiet machine


def test_it_plays_what_is_written():
    """The weights in the package put the energy of a note where the note is: an octave of the right pitch
    class, within its time."""
    import librosa
    m = Msanii.from_pretrained(device="cpu")
    waveform = m.render(score((60, 0.2, 1.2), (66, 1.5, 2.5)), steps=5, tail=0.5, progress=False)
    chroma = librosa.feature.chroma_cqt(y=waveform.mean(0).numpy(), sr=RATE, hop_length=1024, tuning=0.0)
    assert chroma[:, 15:45].mean(1).argmax() == 0 and chroma[:, 72:100].mean(1).argmax() == 6
