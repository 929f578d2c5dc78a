"""ONNX Runtime in the place of networks: the same results, kept files, changed weights, and what it leaves to
torch; windows that are heard together; and files for other programs."""
import json
import os
import re
import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from msanii import Msanii, speed, walk
from msanii.audio import InputError, load_audio, save_audio
from msanii.condition import BAND_AND_CONTEXT
from msanii.correction import Corrector
from msanii.pipeline import Settings, Unfolding, pretrained_vocoder
from msanii.samplers import Denoiser
from msanii.unet import UNet
from msanii.vocoder import Vocoder
from msanii.walk import Windowed

HAS = all(map(find_spec, ("onnx", "onnxruntime")))
onnx = pytest.mark.skipif(not HAS, reason="needs the extra onnx: pip install 'msanii[onnx]'")
pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = Path(__file__).parents[1]
SMALL = dict(width=16, levels=3, blocks=1, heads=4, expansion=1)


@pytest.fixture(autouse=True)
def switched_on(monkeypatch): monkeypatch.delenv("MSANII_ONNX", raising=False)


def corrector():
    torch.manual_seed(0)
    unet = Corrector(**SMALL, d_cond=BAND_AND_CONTEXT.rows, join=True, told=480)
    return Msanii(unet, *pretrained_vocoder(), Settings(objective="x0", steps=2, iterations=2))


def papers():
    torch.manual_seed(0)
    return Msanii(UNet(**SMALL), Vocoder(width=16), pretrained_vocoder()[1], Settings(steps=2, iterations=2))


MODELS = dict(corrector=corrector, papers=papers)


@pytest.fixture(params=MODELS)
def loaded(request, tmp_path):
    "A model of each kind, loaded from a folder."
    return Msanii.from_pretrained(MODELS[request.param]().save_pretrained(tmp_path / "model"), device="cpu")


@pytest.fixture
def one(tmp_path):
    return Msanii.from_pretrained(corrector().save_pretrained(tmp_path / "model"), device="cpu")


def given(m, batch, frames, rows=2):
    "x_t, t and a condition, or no condition where the U-Net takes none."
    gen = torch.Generator().manual_seed(frames)
    x, t = torch.randn(batch, 2, 128, frames, generator=gen), torch.arange(batch) * 300 + 5
    if not m.unet.d_cond: return x, t
    return x, t, torch.rand(batch, rows, m.unet.d_cond, frames, generator=gen)


@onnx
@torch.no_grad()
@pytest.mark.parametrize("batch, frames, rows", [(1, 64, 2), (3, 8, 1), (2, 61, 2), (1, 2, 1), (1, 700, 2)])
def test_a_pass_is_torchs(loaded, batch, frames, rows):
    run, args = loaded.network("unet"), given(loaded, batch, frames, rows)
    assert isinstance(run, speed.OnnxUNet)
    torch.testing.assert_close(run(*args), loaded.unet(*args), rtol=0, atol=1e-5)
    torch.testing.assert_close(run(*args[:2]), loaded.unet(*args[:2]), rtol=0, atol=1e-5)


@onnx
@torch.no_grad()
@pytest.mark.parametrize("batch, frames", [(1, 64), (2, 61), (1, 1), (1, 700)])
def test_a_magnitude_is_torchs(loaded, batch, frames):
    x = given(loaded, batch, frames)[0].clamp(-1, 1)
    found, true = loaded.magnitude(x), Unfolding(loaded.vocoder, loaded.mel)(x)
    assert isinstance(loaded.network("vocoder"), speed.OnnxVocoder)
    torch.testing.assert_close(found, true, rtol=1e-5, atol=1e-5 * true.max().item())


@onnx
@torch.no_grad()
def test_a_batch_equals_its_items(loaded):
    run, (x, *more) = loaded.network("unet"), given(loaded, 3, 40)
    together = run(x, *more)
    for i in range(3):
        torch.testing.assert_close(run(x[i : i + 1], *(y[i : i + 1] for y in more)), together[i : i + 1],
                                   rtol=0, atol=1e-6)


@onnx
def test_samples_of_a_batch_and_of_a_seed(loaded, monkeypatch):
    "Batches equal their items to the bit, the same seed gives the same bits; mels are torch's."
    make = lambda **how: loaded.sample(1.5, via="noise", progress=False, **how)
    both = make(batch=2, seed=3)
    assert torch.equal(both[1:], make(seed=4)) and torch.equal(both, make(batch=2, seed=3))
    found = loaded.sample_mel(150, seed=3, progress=False)
    monkeypatch.setenv("MSANII_ONNX", "0")
    assert loaded.network("unet") is loaded.unet
    apart = (found - loaded.sample_mel(150, seed=3, progress=False)).abs()
    # of noise foretold at t = 999, rounding is divided by a signal of next to nothing: but for few cells
    assert apart.median() <= 1e-6 and (apart > 1e-5).float().mean() < 1e-3


@onnx
def test_the_command_uses_it_and_can_be_told_not_to(one, tmp_path):
    found = []
    for switch in ({}, dict(MSANII_ONNX="0")):
        out = tmp_path / f"{len(found)}.wav"
        words = ["-m", "msanii.app", "style-transfer", out, "--out", out, "--weights", one.folder]
        save_audio(out, 0.1 * torch.randn(2, 44100, generator=torch.Generator().manual_seed(0)))
        done = subprocess.run([sys.executable, *words], env={**os.environ, "PYTHONPATH": str(ROOT), **switch},
                              capture_output=True, text=True)
        assert done.returncode == 0 and "ONNX" not in done.stderr, done.stderr
        found.append(load_audio(out))
        assert len(list(one.folder.glob("*.onnx"))) == 2
        if not switch: before = [p.stat().st_mtime_ns for p in one.folder.glob("*.onnx")]
    assert before == [p.stat().st_mtime_ns for p in one.folder.glob("*.onnx")]
    assert (found[0] - found[1]).norm() < 0.1 * found[1].norm()


@onnx
@torch.no_grad()
def test_files_are_kept_beside_the_weights_and_read_again(one, monkeypatch):
    one.network("unet"), one.network("vocoder")
    kinds = sorted(p.name.partition("-")[0] for p in one.folder.glob("*.onnx"))
    assert kinds == ["unet", "vocoder"]
    monkeypatch.setattr(speed, "to_onnx", lambda *_: pytest.fail("it was written once more"))
    again = Msanii.from_pretrained(one.folder, device="cpu")
    args = given(again, 1, 16)
    torch.testing.assert_close(again.network("unet")(*args), one.unet(*args), rtol=0, atol=1e-5)


@onnx
@torch.no_grad()
def test_a_damaged_file_is_made_anew(one):
    one.network("unet")
    path, = one.folder.glob("unet-*.onnx")
    path.write_bytes(path.read_bytes()[:1000])
    again, args = Msanii.from_pretrained(one.folder, device="cpu"), given(one, 1, 16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(again.network("unet"), speed.OnnxUNet)
    torch.testing.assert_close(again.network("unet")(*args), one.unet(*args), rtol=0, atol=1e-5)


@onnx
@pytest.mark.parametrize("cache", [True, False])
def test_where_the_folder_cannot_be_written(one, monkeypatch, tmp_path, cache):
    "It is kept in the user's cache, or, if there is none, nowhere."
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    replacing = speed.replacing
    def refuse(path):
        if cache and path.parent != one.folder: return replacing(path)
        raise InputError(f"{path} cannot be written")
    monkeypatch.setattr(speed, "replacing", refuse)
    assert isinstance(one.network("unet"), speed.OnnxUNet)
    assert not list(one.folder.glob("*.onnx"))
    assert len(list((tmp_path / "cache").rglob("unet-*.onnx"))) == cache


@onnx
def test_without_a_home(one, monkeypatch):
    def nowhere(): raise RuntimeError("Could not determine home directory.")
    monkeypatch.setattr(speed, "xdg_cache_home", nowhere)
    assert isinstance(one.network("unet"), speed.OnnxUNet)


@onnx
@torch.no_grad()
def test_few_files_stay(one):
    for i in range(6):
        next(one.unet.parameters()).mul_(1.01)
        one.network("unet")
    assert len(list(one.folder.glob("unet-*.onnx"))) == 4


@onnx
@torch.no_grad()
@pytest.mark.parametrize("change", ["in place", "load", "another"])
def test_changed_weights_are_noticed(one, change):
    args, before = given(one, 1, 32), one.network("unet")(*given(one, 1, 32))
    if change == "in place":
        for p in one.unet.parameters(): p.mul_(1.5)
    elif change == "load": one.unet.load_state_dict({k: 1.5 * v for k, v in one.unet.state_dict().items()})
    else: one.unet = Corrector(**one.unet.settings).eval()
    after = one.network("unet")(*args)
    assert (after - before).abs().max() > 1e-3
    torch.testing.assert_close(after, one.unet(*args), rtol=0, atol=1e-5)


@onnx
def test_another_mel_is_noticed(one):
    x = torch.zeros(1, 2, 128, 8)
    before = one.magnitude(x)
    one.mel.minmax.high += 1
    torch.testing.assert_close(one.magnitude(x), Unfolding(one.vocoder, one.mel)(x), rtol=1e-4, atol=1e-4)
    assert (one.magnitude(x) - before).abs().max() > 0.1


@onnx
def test_another_number_of_threads_is_obeyed(one, monkeypatch):
    asked = []
    monkeypatch.setattr(speed, "open_session", lambda *_: asked.append(torch.get_num_threads()))
    monkeypatch.setattr(speed, "kept", lambda *_: b"")
    for n in (1, 1, 2, 2):
        torch.set_num_threads(n)
        one.network("unet")
    torch.set_num_threads(1)
    assert asked == [1, 2]


@onnx
@pytest.mark.parametrize("stage", ["to_onnx", "open_session", "ask"])
def test_a_failure_is_told_once_and_torch_goes_on(one, monkeypatch, stage):
    def fail(*_): raise RuntimeError("no such operator")
    monkeypatch.setattr(speed, stage, fail)
    with pytest.warns(UserWarning, match="unet.*no such operator.*MSANII_ONNX=0") as told:
        assert one.network("unet") is one.unet and one.network("unet") is one.unet
    assert len(told) == 1


@onnx
def test_results_that_are_too_far_away_are_refused(one, monkeypatch):
    ask = speed.ask
    monkeypatch.setattr(speed, "ask", lambda *args: ask(*args) + 1e-3)
    with pytest.warns(UserWarning, match="away from those of torch"): assert one.network("unet") is one.unet


def test_what_is_left_to_torch(one, monkeypatch):
    "Models that no folder holds, networks of other kinds, hooks, other precisions, and where it is missing."
    made = corrector()
    assert made.network("unet") is made.unet
    class Other(Corrector): pass
    handle = one.unet.register_forward_hook(lambda *_: None)
    assert one.network("unet") is one.unet
    handle.remove()
    one.unet.double()
    assert one.network("unet") is one.unet
    one.unet = Other(**one.unet.settings).eval()
    assert one.network("unet") is one.unet
    fresh = Msanii.from_pretrained(one.folder, device="cpu")
    monkeypatch.setattr(speed, "find_spec", lambda name: None)
    assert fresh.network("unet") is fresh.unet and isinstance(fresh.network("vocoder"), Unfolding)
    assert not list(one.folder.glob("*.onnx"))


@onnx
def test_gradients_and_mono_are_torchs(loaded):
    run, args = loaded.network("unet"), given(loaded, 1, 32)
    x = args[0].requires_grad_()
    run(x, *args[1:]).sum().backward()
    assert x.grad.abs().max() > 0
    with torch.no_grad():
        mono = [args[0][:, :1], args[1], *(c[:, :1] for c in args[2:])]
        assert torch.equal(run(*mono), loaded.unet(*mono))
        with pytest.raises((ValueError, RuntimeError)): run(args[0][:, :, :5], *args[1:])


@onnx
@pytest.mark.parametrize("kind", MODELS)
def test_export_for_other_programs(kind, tmp_path):
    "What onnx.json says is enough to run both files without torch."
    import onnxruntime
    m = MODELS[kind]()
    about = json.loads((m.export_onnx(tmp_path / "out") / "onnx.json").read_text())
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["onnx.json", "unet.onnx", "vocoder.onnx"]
    frames = 3 * about["unet"]["frames_multiple_of"]
    rng, made = np.random.default_rng(0), {}
    for name in ("unet", "vocoder"):
        session = onnxruntime.InferenceSession(tmp_path / "out" / f"{name}.onnx")
        sizes = {"batch": 2, "frames": frames, "1 or 2": 2}
        shapes = {n: [sizes.get(k, k) for k in i["shape"]] for n, i in about[name]["inputs"].items()}
        x = {n: rng.uniform(-1, 1, s).astype(np.float32) for n, s in shapes.items()}
        if name == "unet": x["t"] = np.array([3, 700])
        assert all(about[name]["inputs"][n]["dtype"] == str(v.dtype) for n, v in x.items())
        out, = session.run(None, x)
        assert list(out.shape) == [sizes.get(k, k) for k in about[name]["outputs"]["out"]["shape"]]
        with torch.no_grad():
            true = (m.unet if name == "unet" else m.magnitude)(*map(torch.from_numpy, x.values()))
        np.testing.assert_allclose(out, true, rtol=1e-5, atol=1e-5 * max(1, true.abs().max().item()))
    mel, x = about["mel"], torch.rand(1, 2, 128, 5)
    scaled = ((x + mel["eps"]).log() - mel["mean"]) / mel["std"]
    scaled = 2 * (scaled - mel["low"]) / (mel["high"] - mel["low"]) - 1
    torch.testing.assert_close(scaled, m.mel.scale(x), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(about["unet"]["alpha_bar"], m.schedule.abar)


def test_export_says_what_is_missing(model, tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"msanii\[onnx\]"): model.export_onnx(tmp_path)


@torch.no_grad()
@pytest.mark.parametrize("batch, frames, length", [(1, 16, 200), (2, 16, 111), (1, 64, 65), (1, 48, 48)])
@pytest.mark.parametrize("together", [1, 40, 10**6])
def test_windows_together_equal_one_by_one(monkeypatch, batch, frames, length, together):
    m = corrector()
    x, _, cond = given(m, batch, length)
    denoiser = Windowed(Denoiser(m.unet, m.schedule, "x0", cond), frames)
    def hear(many):
        monkeypatch.setattr(walk, "TOGETHER", many)
        return denoiser(x, 400)
    found = hear(together), hear(0)
    torch.testing.assert_close(*found, rtol=0, atol=1e-6)


def waiting(words, **env):
    "How threads wait in a process that says it when OpenMP is loaded: (policy, spins)."
    plain = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    env = {**plain, "PYTHONPATH": str(ROOT), "OMP_DISPLAY_ENV": "verbose", **env}
    told = subprocess.run([sys.executable, *words], env=env, capture_output=True, text=True, cwd=ROOT).stderr
    if "GOMP_SPINCOUNT" not in told: pytest.skip("this torch has another OpenMP than GNU's")
    return re.search(r"OMP_WAIT_POLICY = '(\w+)'", told)[1], re.search(r"GOMP_SPINCOUNT = '(\w+)'", told)[1]


COMMAND = "-m", "msanii.app", "--version"


@pytest.mark.parametrize("env", [dict(OMP_WAIT_POLICY="active"), dict(GOMP_SPINCOUNT="123")])
def test_threads_of_the_command_wait_asleep_unless_told_otherwise(env):
    assert waiting(COMMAND) == ("PASSIVE", "0")
    assert waiting(COMMAND, **env) == waiting(["-c", "import torch"], **env) != ("PASSIVE", "0")


def test_the_library_leaves_the_environment_alone():
    assert waiting(["-c", "import msanii"]) == waiting(["-c", "import torch"])


@pytest.mark.parametrize("env, told", [({}, "passive,0"), (dict(OMP_WAIT_POLICY="active"), "active,"),
                                       (dict(GOMP_SPINCOUNT="7"), ",7")])
def test_make_tells_its_programs_how_to_wait(tmp_path, env, told):
    text = (ROOT / "Makefile").read_text() + "\nsay:\n\t@echo $$OMP_WAIT_POLICY,$$GOMP_SPINCOUNT\n"
    (tmp_path / "Makefile").write_text(text)
    plain = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    done = subprocess.run(["make", "-s", "say"], cwd=tmp_path, env={**plain, **env},
                          capture_output=True, text=True)
    assert done.stdout.strip() == told
