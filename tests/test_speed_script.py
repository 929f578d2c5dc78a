"""benchmarks/speed.py in its smallest form: its tables, measures in processes of their own, and its ways."""
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from msanii import Msanii, long, pipeline
from msanii.bits import BitUNet
from msanii.condition import BAND_AND_CONTEXT
from msanii.correction import Corrector
from msanii.pipeline import Settings, pretrained_vocoder
from msanii.plan import NOTES, PLAN
from msanii.score import song_by_rules
from msanii.templates import Templates

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
HAS = all(map(find_spec, ("onnx", "onnxruntime")))
needs_onnx = pytest.mark.skipif(not HAS, reason="needs the extra onnx: pip install 'msanii[onnx]'")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    "A folder with a small model that plays a band and composes, and has learned nothing."
    torch.manual_seed(0)
    how = dict(width=16, levels=2, blocks=1, attention=1, heads=4, join=True)
    parts = dict(planner=BitUNet(d_freq=171, d_cond=PLAN.rows, **how).expect(torch.full((1, 171), 0.5)),
                 composer=BitUNet(d_freq=264, d_cond=NOTES.rows, channels=2, **how)
                 .expect(torch.full((2, 264), 0.03)), templates=Templates.load())
    unet = Corrector(**how, d_cond=BAND_AND_CONTEXT.rows, told=480)
    settings = Settings(objective="x0", steps=2, iterations=2, window=3.0)
    return str(Msanii(unet, *pretrained_vocoder(), settings, **parts)
               .save_pretrained(tmp_path_factory.mktemp("model")))


@pytest.fixture
def script(monkeypatch):
    "The script, which measures in this process."
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    monkeypatch.delenv("MSANII_ONNX", raising=False)
    threads = torch.get_num_threads()
    import speed
    for module, name in ((pipeline, "griffin_lim"), (long, "rebuild")):  # which it wraps
        monkeypatch.setattr(module, name, getattr(module, name))
    monkeypatch.setattr(speed, "asked", lambda **what: speed.measure(**what))
    monkeypatch.setattr(speed, "passes", lambda *_: 3.0)
    yield speed
    torch.set_num_threads(threads)


def rows(text, title):
    "The cells of the rows of a table below a title."
    lines = text[text.index(title) :].splitlines()
    table = [line for line in lines[2 : lines.index("", 3) if "" in lines[3:] else None] if line[:1] == "|"]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


WORDS = ["--threads", "1", "--repeats", "1", "--songs", "none", "--paper-seconds", "1", "--wait", "0.1"]


@needs_onnx
def test_its_tables(script, weights, capsys, monkeypatch):
    for name in list(script.WAYS):
        if name not in ("eager", "ONNX", "int8", "channels last", "ONNX, from t = 300, 1 passes"):
            monkeypatch.delitem(script.WAYS, name)
    monkeypatch.setattr(script, "LONG", 3)
    script.main([*WORDS, "--seconds", "2", "3", "--ways-seconds", "2", "--weights", weights,
                 "--tasks", "render", "compose", "inpaint"])
    text = capsys.readouterr().out
    found = rows(text, script.tasks.__doc__)
    assert [r[0] for r in found] == ["render", "compose", "inpaint", "the paper's way, plain"]
    assert found[2][2] == "" and all(float(x) > 0 for r in found for x in r[1:] if x)
    found = rows(text, script.shares.__doc__)
    assert [r[0] for r in found] == ["2 s", "3 s"] and all(float(r[-1]) > 0 for r in found)
    assert all(97 <= sum(float(x.rstrip("%")) for x in r[2:6]) <= 103 for r in found)
    assert "Slope of time against length, 1 thread: " in text
    found = rows(text, script.ways.__doc__)
    assert [r[0] for r in found] == list(script.WAYS) and found[0][3] == "1"
    assert [r[0] for r in rows(text, script.waiting.__doc__)] == list(script.WAITING)


@needs_onnx
@pytest.mark.parametrize("task", ["sample", "style transfer", "interpolate", "outpaint", "from noise"])
def test_each_task(script, weights, task):
    found = script.measure(task, 2.0, 1, steps=1, weights=weights)
    assert found["seconds"] > 0 and found["music"] > 0.5 and found["shares"]["U-Net"] > 0


def test_a_process_of_its_own(weights):
    what = dict(task="render", seconds=1.0, threads=1, way="eager", steps=1, weights=weights)
    words = [sys.executable, BENCHMARKS / "speed.py", "--measure", json.dumps(what)]
    found = json.loads(subprocess.check_output(words, text=True).splitlines()[-1])
    assert found["music"] == 1 and 0.1 < found["gb"] < 4
    assert set(found["shares"]) == {"U-Net", "vocoder", "phase"}


def test_ways_make_music(script, weights):
    "A walk that begins at the guess is another, and leaves nothing behind; its quality is measured."
    pytest.importorskip("librosa"), pytest.importorskip("mir_eval")
    m, score = script.model("eager", weights), song_by_rules(1, seconds=2)
    plain, near = (script.render(m, score, 1, start) for start in (None, 300))
    assert plain.shape == near.shape and not torch.equal(plain, near)
    assert torch.equal(plain, m.render(score, steps=1, progress=False))
    good = script.quality("eager", 1, 300, [1], weights)
    assert set(good) == {"chroma", "onset", "mel"} and all(x == x for x in good.values())
