"""What 72_report cannot hold: damaged folders, processes, a damaged cache, and the command on a model."""
import json
import sys
from pathlib import Path

import pytest
import torch
from fastcore.script import anno_parser

from msanii.app import evaluate
from msanii.audio import SAMPLE_RATE, InputError, save_audio
from msanii.bits import BitUNet
from msanii.distances import FAMILIES
from msanii.pipeline import Msanii
from msanii.plan import NOTES, PLAN
from msanii.report import evaluate_folders, report_table
from msanii.score import song_by_rules, render_score

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    "b: six parts of a song; a: the same at half the level."
    top = tmp_path_factory.mktemp("music")
    song = render_score(song_by_rules(4, 20.0, tempo=112, key="G:maj"))
    for i in range(6):
        part = song[:, i * 3 * SAMPLE_RATE:(i * 3 + 3) * SAMPLE_RATE]
        save_audio(top / "b" / f"{i}.flac", part.clamp(-1, 1))
        save_audio(top / "a" / f"{i}.wav", (0.5 * part).clamp(-1, 1))
    return top


def noise(seconds):
    return 0.1 * torch.randn(2, round(seconds * SAMPLE_RATE), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def damaged(folders, tmp_path_factory):
    "The folder a beside text as wav, an empty file, silence, a cut-off file, and others that cannot be used."
    a = tmp_path_factory.mktemp("damaged") / "a <b>&"
    a.mkdir()
    for p in (folders / "a").iterdir(): (a / p.name).write_bytes(p.read_bytes())
    (a / "text.wav").write_text("not a sound")
    (a / "empty.wav").write_bytes(b"")
    (a / "cut.flac").write_bytes((folders / "b" / "0.flac").read_bytes()[:50])
    save_audio(a / "silent.wav", torch.zeros(2, 3 * SAMPLE_RATE))
    save_audio(a / "short.wav", noise(0.5))
    save_audio(a / "2.wav", noise(2.5))  # no pair: another length
    (a / "readme.txt").write_text("no sound, no complaint")
    (a / "folder.wav").mkdir()
    return a


def test_folders(damaged, folders, tmp_path):
    "What cannot be used is named and left out; the rest goes on, in two processes."
    out = tmp_path / "out"
    report = evaluate_folders(damaged, folders / "b", out, jobs=2, cache=folders / "cache", progress=False)
    assert report["files"] == {"a": 6, "b": 6}
    assert set(report["skipped"]["a"]) == {"text.wav", "empty.wav", "cut.flac", "silent.wav", "short.wav"}
    assert set(report["pairs"]) == {f"{i}.wav" for i in (0, 1, 3, 4, 5)}
    assert set(report["skipped"]["pairs"]) == {"2.wav"}
    assert report["reconstruction"]["loudness_error"][0] == pytest.approx(6.02, abs=0.1)
    assert set(report["distribution"]) == set(FAMILIES) and report["as_pairs"]
    text = (out / "report.json").read_text()
    assert "NaN" not in text and json.loads(text)["files"] == {"a": 6, "b": 6}  # strict JSON
    page = (out / "report.html").read_text()
    assert "a <b>&" not in page and "a &lt;b&gt;&amp;" in page
    assert page.count("<audio") in (3 + 2, 3 + 3) and "http" not in page
    assert "| loudness_error |" in (out / "report.md").read_text()
    assert not [p for p in out.rglob(".*")]


def test_cache_by_content(folders, tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    first = evaluate_folders(folders / "a", out=tmp_path / "out", jobs=1, progress=False)
    assert torch.get_num_threads() == 2  # a thread is used, and the caller's number given back
    torch.set_num_threads(threads)
    cache = sorted((tmp_path / "out" / "cache").iterdir())
    assert len(cache) == 6 and not first["distribution"] and not first["reconstruction"]
    doctored = json.loads(cache[0].read_text())
    doctored["music"]["tempo"] = 12345.0
    cache[0].write_text(json.dumps(doctored))
    cache[1].write_text("damaged")
    again = evaluate_folders(folders / "a", out=tmp_path / "out", jobs=1, progress=False)
    tempi = sorted(m["tempo"] for m in again["each"]["a"].values())
    assert tempi[-1] == 12345 and sum(t != 12345 for t in tempi) == 5  # the damaged one is made again
    assert json.loads(cache[1].read_text())["music"]


def test_pairs_and_strangers(folders, tmp_path):
    "By their names: versions are compared as pairs, six or more; strangers are four a side or more."
    how = dict(jobs=1, cache=folders / "cache", progress=False)
    for name, chosen, rename in (("five", range(5), str), ("six", range(6), str),
                                 ("strangers", range(4), "other-{}".format)):
        for i in chosen:
            file = tmp_path / name / f"{rename(i)}.wav"
            file.parent.mkdir(exist_ok=True)
            file.write_bytes((folders / "a" / f"{i}.wav").read_bytes())
    found = {name: evaluate_folders(tmp_path / name, folders / "b", tmp_path / "out", **how)
             for name in ("five", "six", "strangers")}
    assert [report["as_pairs"] for report in found.values()] == [True, True, False]
    assert [bool(report["distribution"]) for report in found.values()] == [False, True, True]
    assert "6 are needed" in report_table(found["five"]) and "6 are needed" not in report_table(found["six"])
    same = evaluate_folders(folders / "b", folders / "b", tmp_path / "out", **how)["distribution"]
    assert not any(d["apart"] for kinds in same.values() for d in kinds.values())
    assert "swaps within pairs" in (tmp_path / "out" / "report.md").read_text()


def test_folders_that_cannot_be(tmp_path, folders):
    (tmp_path / "none").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.wav").write_text("text")
    quick = dict(out=tmp_path / "out", jobs=1, progress=False)
    for a, message in ((tmp_path / "none", "holds no sound files"), (tmp_path / "nowhere", "no folder"),
                       (tmp_path / "bad" / "x.wav", "no folder"), (tmp_path / "bad", "can be used")):
        with pytest.raises(InputError, match=message): evaluate_folders(a, **quick)
    with pytest.raises(InputError, match="excerpt"): evaluate_folders(folders / "a", excerpt=0, **quick)
    with pytest.raises(InputError, match="clap, vggish"):
        evaluate_folders(folders / "a", embed="mp3", **quick)


def test_own_embedding(folders, tmp_path):
    def spectrum(waveform):
        frames = waveform.mean(0).unfold(0, 512, 4096) * torch.hann_window(512)
        return torch.fft.rfft(frames).abs().mean(0)[:8].numpy()
    report = evaluate_folders(folders / "a", folders / "b", tmp_path / "out", jobs=1, cache=folders / "cache",
                              embed=spectrum, progress=False)
    assert set(report["distribution"]) == {*FAMILIES, "spectrum"}


def test_command_on_a_model(small_model, tmp_path, capsys):
    small_model(conditional=False).save_pretrained(tmp_path / "model")
    words = [str(tmp_path / "model"), "--out", str(tmp_path / "out"), "--pieces", "2", "--seconds", "2.5"]
    args = vars(anno_parser(evaluate, prog="msanii evaluate").parse_args([*words, "--jobs", "1"]))
    args = {k: v for k, v in args.items() if k not in ("pdb", "xtra")}
    evaluate(**args)
    made = sorted((tmp_path / "out").glob("samples-*/*.flac"))
    assert len(made) == 2 and "**Music**" in capsys.readouterr().out
    before = [p.stat().st_mtime_ns for p in made]
    evaluate(**args)
    assert [p.stat().st_mtime_ns for p in made] == before  # samples that are there are kept


def test_composed_kinds_of_the_script(small_model, tmp_path, monkeypatch):
    "benchmarks/report.py: a piece is composed once, and played by FluidSynth and by the network."
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parents[1] / "benchmarks"), *sys.path])
    import report as script
    how, small = dict(width=16, levels=2, blocks=1, attention=1, heads=4, join=True), small_model()
    planner = BitUNet(d_freq=171, d_cond=PLAN.rows, **how).expect(torch.full((1, 171), 0.5))
    composer = BitUNet(d_freq=264, d_cond=NOTES.rows, channels=2, **how).expect(torch.full((2, 264), 0.03))
    m = Msanii(small.unet, small.vocoder, small.mel, small.settings, planner=planner, composer=composer)
    assert not [kind for kind in script.makers(small, 3.0, 1, 1.0, tmp_path)[0] if "+" in kind]
    kinds, _ = script.makers(m, 3.0, 1, 1.0, tmp_path)
    made, compose = [], m.compose
    m.compose = lambda *args, **how: (made.append(how["chords"]), compose(*args, steps=2, **how))[1]
    for start in ("composed", "chords"):
        for player in ("FluidSynth", "network"):
            x = script.fit(kinds[f"{start} + {player}"](7, None, None), 3 * SAMPLE_RATE)
            assert x.shape == (2, 3 * SAMPLE_RATE) and x.isfinite().all() and x.abs().max() > 1e-3
    assert made == [None, script.CHORDS[7 % len(script.CHORDS)]]
    assert sorted(path.parent.name for path in tmp_path.rglob("*.mid")) == ["chords", "composed"]
