"""Evaluation: bad input, damaged folders, processes, the cache, the page, the command, embeddings with a
stand-in library."""
import json
import math
import subprocess
import sys
import types

import numpy as np
import pytest
import torch
from fastcore.script import anno_parser

from msanii.audio import SAMPLE_RATE, InputError, save_audio
from msanii.evaluation import (
    FAMILIES,
    analyse,
    bootstrap,
    compare_sets,
    continuity,
    edit_continuity,
    evaluate,
    evaluate_folders,
    features,
    frechet_distance,
    kernel_distance,
    loudness,
    music,
    pulse,
    reconstruction,
    score_agreement,
    standardise,
)
from msanii.score import compose, render_score

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def song():
    return render_score(compose(4, 14.0, tempo=112, key="G:maj"))[:, :13 * SAMPLE_RATE]


@pytest.fixture(scope="module")
def folders(tmp_path_factory, song):
    top = tmp_path_factory.mktemp("music")
    for i in range(4):
        part = song[:, i * 3 * SAMPLE_RATE:(i * 3 + 3) * SAMPLE_RATE]
        save_audio(top / "b" / f"{i}.flac", part.clamp(-1, 1))
        save_audio(top / "a" / f"{i}.wav", (0.5 * part).clamp(-1, 1))
    return top


def noise(channels=2, seconds=3.0, seed=0):
    return 0.1 * torch.randn(
        channels, round(seconds * SAMPLE_RATE), generator=torch.Generator().manual_seed(seed)
    )


def test_import_is_light():
    code = (
        "import sys, msanii.evaluation; print([m for m in ('librosa', 'auraloss', 'mir_eval', 'pyloudnorm',"
        " 'sklearn', 'transformers') if m in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.splitlines()[-1]
        == "[]"
    )  # others may print before it


BAD = {
    "one axis": (torch.randn(88_200), "channels, samples"),
    "short": (torch.randn(2, 1000), "2 s or more"),
    "empty": (torch.zeros(2, 0), "shape"),
    "silent": (torch.zeros(2, 132_300), "silent"),
    "nan": (torch.full((2, 132_300), math.nan), "NaN"),
    "integers": (torch.ones(2, 132_300, dtype=torch.int16), "int16"),
    "batch of two": (torch.randn(2, 2, 132_300), "one piece"),
    "a path": ("song.wav", "str"),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize(
    "function",
    (music, features, lambda x: continuity(x, 5), lambda x: score_agreement(x, compose(0, 4.0))),
    ids=("music", "features", "continuity", "score"),
)
def test_bad_waveforms(function, kind):
    waveform, message = BAD[kind]
    with pytest.raises(InputError, match=message if function in (music, features) else None):
        function(waveform)


def test_pairs_that_are_none():
    x = noise()
    for pred, message in (
        (x[:, :-1], "cut them"),
        (x[:1], "same channels"),
        (x[:, :100], "0.4 s"),
        (x * math.nan, "NaN"),
    ):
        with pytest.raises(InputError, match=message):
            reconstruction(pred, x)
    with pytest.raises(InputError, match="target is silent"): reconstruction(x, 0 * x)
    # a silent prediction is a bad one, no error
    assert reconstruction(0 * x, x)["spectral_convergence"] == pytest.approx(1, abs=1e-3)


def test_mono_and_batch_of_one(song):
    part = song[:, :4 * SAMPLE_RATE]
    mono = part.mean(0, keepdim=True)
    assert music(mono)["tempo"] == pytest.approx(music(mono.expand(2, -1))["tempo"])
    assert reconstruction(mono[None], mono)["mel_error"] == 0
    assert music(part.double().numpy())["key_clarity"] == pytest.approx(music(part)["key_clarity"], abs=1e-4)


def test_known_tempo_key_and_level(song):
    found = music(song)
    ratio = math.log2(found["tempo"] / 112)
    assert abs(ratio - round(ratio)) < 0.03
    octave = analyse(torch.sin(2 * math.pi * 261.63 * torch.arange(3 * SAMPLE_RATE) / SAMPLE_RATE)[None])
    assert octave.chroma.mean(1).argmax() == 0
    sine = 10 ** (-23 / 20) * torch.sin(2 * math.pi * 997 * torch.arange(5 * SAMPLE_RATE) / SAMPLE_RATE)
    # EBU Tech 3341: stereo 1 kHz sine at -23 dBFS reads -23 LUFS
    assert loudness(sine.expand(2, -1)) == pytest.approx(-23, abs=0.1)
    assert loudness(torch.zeros(2, SAMPLE_RATE)) == -70


def test_pulse_of_a_metronome():
    onset = np.zeros(600)
    for bpm in (60, 97.3, 150):
        onset[:] = 0
        onset[np.round(np.arange(0, 600, 60 * SAMPLE_RATE / 1024 / bpm)).astype(int)[:-1]] = 1
        tempo, clarity = pulse(np.convolve(onset, [0.5, 1, 0.5], "same"))
        ratio = math.log2(tempo / bpm)
        assert abs(ratio - round(ratio)) < 0.02 and clarity > 0.3
    assert pulse(np.random.default_rng(0).random(600))[1] < 0.25


def test_seams(song):
    mid = round(6.2 * SAMPLE_RATE)
    cut = torch.cat([song[:, :mid], 0.1 * song[:, mid:]], 1)
    assert continuity(cut, 6.2)["level_step"] == pytest.approx(20, abs=4)
    jump = song + 0.2 * (torch.arange(song.shape[1]) >= mid)
    assert continuity(jump, 6.2)["click"] > continuity(song, 6.2)["click"] + 6
    assert edit_continuity(cut, [(0.0, 6.2)]) == continuity(cut, 6.2)
    # silence keeps no time and no harmony, neither well nor badly
    silent = continuity(torch.cat([song[:, :mid], torch.zeros_like(song[:, mid:])], 1), 6.2)
    assert {m for m, value in silent.items() if math.isnan(value)} == {
        "spectrum_step",
        "harmony_step",
        "tempo_step",
        "beat_shift",
    }
    for at in (1.0, 12.5, -1, math.nan):
        with pytest.raises(InputError, match="3 s"): continuity(song, at)
    with pytest.raises(InputError, match="no seam"): edit_continuity(song, [(0, 13)])


def test_distances():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 4)), rng.normal(size=(25, 4)) + 1
    for distance in (frechet_distance, kernel_distance):
        assert distance(x, x) == pytest.approx(0, abs=1e-9)
        assert distance(x, y) == pytest.approx(distance(y, x), rel=1e-6) and distance(x, y) > 0
        assert distance(list(x[:, None]), list(y[:, None])) == pytest.approx(distance(x, y))
        with pytest.raises(InputError, match="same ones"): distance(x, y[:, :3])
        with pytest.raises(InputError, match="two or more"): distance(x[:1], y)
        with pytest.raises(InputError, match="finite"): distance(x * math.nan, y)
    with pytest.raises(InputError, match="frechet, kernel"): compare_sets(x, y, "euclid")
    assert compare_sets(x, y)["apart"] and compare_sets(x, y, seed=1) == compare_sets(x, y, seed=1)
    constant = standardise([np.zeros((1, 2))] * 3, [np.zeros((1, 2))] * 3)[0]
    assert np.isfinite(constant).all()


def test_bootstrap():
    assert bootstrap([2.0] * 5) == (2, 2, 2)
    assert bootstrap([1.0, math.nan, 3.0]).value == 2
    assert math.isnan(bootstrap([1.0]).low) and math.isnan(bootstrap([]).value)


def test_folders(folders, tmp_path):
    """Text as wav, an empty file, silence, a cut-off file, NaN: named and left out; the rest goes on, in two
    processes."""
    a = tmp_path / "a <b>&"
    for p in (folders / "a").iterdir():
        (a / p.name).parent.mkdir(exist_ok=True), (a / p.name).write_bytes(p.read_bytes())
    (a / "text.wav").write_text("not a sound")
    (a / "empty.wav").write_bytes(b"")
    (a / "cut.flac").write_bytes((folders / "b" / "0.flac").read_bytes()[:50])
    save_audio(a / "silent.wav", torch.zeros(2, 3 * SAMPLE_RATE))
    save_audio(a / "short.wav", noise(seconds=0.5))
    save_audio(a / "2.wav", noise(seconds=2.5))  # no pair: another length
    (a / "readme.txt").write_text("no sound, no complaint")
    (a / "folder.wav").mkdir()
    report = evaluate_folders(
        a, folders / "b", tmp_path / "out", jobs=2, cache=folders / "cache", progress=False
    )
    assert report["files"] == {"a": 4, "b": 4} and set(report["skipped"]["a"]) == {
        "text.wav",
        "empty.wav",
        "cut.flac",
        "silent.wav",
        "short.wav",
    }
    assert set(report["pairs"]) == {"0.wav", "1.wav", "3.wav"} and set(report["skipped"]["pairs"]) == {
        "2.wav"
    }
    assert report["reconstruction"]["loudness_error"][0] == pytest.approx(6.02, abs=0.1)
    assert set(report["distribution"]) == set(FAMILIES)
    saved = json.loads((tmp_path / "out" / "report.json").read_text())  # strict JSON: no NaN
    assert "NaN" not in (tmp_path / "out" / "report.json").read_text() and saved["files"] == {"a": 4, "b": 4}
    page = (tmp_path / "out" / "report.html").read_text()
    assert (
        "a <b>&" not in page
        and "a &lt;b&gt;&amp;" in page
        and page.count("<audio") in (3 + 2, 3 + 3)
        and "http" not in page
    )
    assert "| loudness_error |" in (tmp_path / "out" / "report.md").read_text()
    assert not [p for p in (tmp_path / "out").rglob(".*")]


def test_cache_by_content(folders, tmp_path):
    first = evaluate_folders(folders / "a", out=tmp_path / "out", jobs=1, progress=False)
    cache = sorted((tmp_path / "out" / "cache").iterdir())
    assert len(cache) == 4 and not first["distribution"] and not first["reconstruction"]
    doctored = json.loads(cache[0].read_text())
    doctored["music"]["tempo"] = 12345.0
    cache[0].write_text(json.dumps(doctored))
    cache[1].write_text("damaged")
    again = evaluate_folders(folders / "a", out=tmp_path / "out", jobs=1, progress=False)
    tempi = sorted(m["tempo"] for m in again["each"]["a"].values())
    # read from the cache; the damaged one made anew
    assert tempi[-1] == 12345 and sum(t != 12345 for t in tempi) == 3
    assert json.loads(cache[1].read_text())["music"]


def test_folders_that_cannot_be(tmp_path, folders):
    (tmp_path / "none").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.wav").write_text("text")
    for a, message in (
        (tmp_path / "none", "holds no sound files"),
        (tmp_path / "nowhere", "no folder"),
        (tmp_path / "bad" / "x.wav", "no folder"),
        (tmp_path / "bad", "can be used"),
    ):
        with pytest.raises(InputError, match=message):
            evaluate_folders(a, out=tmp_path / "out", jobs=1, progress=False)
    with pytest.raises(InputError, match="excerpt"):
        evaluate_folders(folders / "a", out=tmp_path / "out", excerpt=0)
    with pytest.raises(InputError, match="clap, vggish"):
        evaluate_folders(folders / "a", out=tmp_path / "out", embed="mp3")


def test_own_embedding(folders, tmp_path):
    def spectrum(waveform):
        return (
            torch.stft(waveform.mean(0), 512, 4096, window=torch.hann_window(512), return_complex=True)
            .abs()
            .mean(1)[:8]
            .numpy()
        )
    report = evaluate_folders(
        folders / "a",
        folders / "b",
        tmp_path / "out",
        jobs=1,
        cache=folders / "cache",
        embed=spectrum,
        progress=False,
    )
    assert set(report["distribution"]) == {*FAMILIES, "spectrum"}


def test_clap_by_a_stand_in(monkeypatch):
    from msanii.evaluation import clap_embedding, vggish_embedding
    seen = {}

    class Model:
        def eval(self): return self
        def get_audio_features(self, input_features): return input_features

    def processor(audio, sampling_rate, return_tensors):
        seen.update(rate=sampling_rate, lengths=[len(a) for a in audio])
        return {"input_features": torch.ones(len(audio), 4)}

    stand_in = types.SimpleNamespace(
        ClapModel=types.SimpleNamespace(from_pretrained=lambda s: Model()),
        ClapProcessor=types.SimpleNamespace(from_pretrained=lambda s: processor),
    )
    monkeypatch.setitem(sys.modules, "transformers", stand_in)
    assert clap_embedding("anything")(noise(seconds=12)).shape == (2, 4)
    assert seen == {"rate": 48_000, "lengths": [480_000, 96_000]}
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match="CLAP cannot be had"): clap_embedding()
    monkeypatch.setitem(sys.modules, "torchaudio.prototype.pipelines", None)
    with pytest.raises(InputError, match="VGGish cannot be had"): vggish_embedding()


def test_command_on_a_model(small_model, tmp_path, capsys):
    small_model(conditional=False).save_pretrained(tmp_path / "model")
    args = vars(
        anno_parser(evaluate, prog="msanii evaluate").parse_args(
            [
                str(tmp_path / "model"),
                "--out",
                str(tmp_path / "out"),
                "--pieces",
                "2",
                "--seconds",
                "2.5",
                "--jobs",
                "1",
            ]
        )
    )
    args = {k: v for k, v in args.items() if k not in ("pdb", "xtra")}
    evaluate(**args)
    made = sorted((tmp_path / "out").glob("samples-*/*.flac"))
    assert len(made) == 2 and "**Music**" in capsys.readouterr().out
    before = [p.stat().st_mtime_ns for p in made]
    evaluate(**args)
    assert [p.stat().st_mtime_ns for p in made] == before  # samples that are there are kept
