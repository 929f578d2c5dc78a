"""What 34_pipeline and 74_app cannot hold: the Hub (a local server), interrupted saves, the real process."""
import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings, strategies as st

from msanii import Msanii
from msanii.audio import InputError, load_audio
from msanii.pipeline import FILES

@pytest.fixture(scope="module")
def model(small_model):
    "The paper's kind: it takes nothing but noise. The other test files have the other kind."
    return small_model(conditional=False, objective="v")


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    return model.save_pretrained(tmp_path_factory.mktemp("model"))


@settings(max_examples=15, deadline=None)
@given(n=st.integers(1, 20_000), channels=st.integers(1, 2), gain=st.sampled_from([0.0, 1e-3, 1.0, 30.0]))
def test_reconstruct_keeps_any_shape(model, n, channels, gain):
    waveform = gain * (2 * torch.rand(channels, n, generator=torch.Generator().manual_seed(n)) - 1)
    done = model.reconstruct(waveform)
    assert done.shape == waveform.shape and done.isfinite().all()


@settings(max_examples=10, deadline=None)
@given(seconds=st.floats(1e-4, 2.0), seed=st.integers(0, 2**40))
def test_sample_has_the_length_asked_for(model, seconds, seed):
    if round(seconds * 44_100) == 0: return
    waveform = model.sample(seconds, steps=1, seed=seed, progress=False)
    assert waveform.shape == (1, 2, round(seconds * 44_100)) and waveform.dtype == torch.float32
    assert waveform.isfinite().all() and waveform.abs().max() <= 1


def test_batch_equals_its_items(model):
    for sampler in ("ddpm", "ddim", "dpm"):
        together = model.sample(0.7, batch=3, seed=4, steps=3, sampler=sampler, progress=False)
        alone = [model.sample(0.7, seed=s, steps=3, sampler=sampler, progress=False) for s in (4, 5, 6)]
        assert torch.equal(together, torch.cat(alone)), sampler


def test_global_seed_is_neither_used_nor_touched(model):
    torch.manual_seed(1); before = torch.get_rng_state()
    a = model.sample(0.3, steps=2, sampler="ddpm", progress=False)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    assert torch.equal(a, model.sample(0.3, steps=2, sampler="ddpm", progress=False))


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm"])
def test_no_more_steps_than_timesteps(model, sampler):
    "At a low strength there are fewer timesteps to visit, and those are visited."
    assert model.timesteps(1000, sampler=sampler)[0] == 999
    assert len(model.timesteps(1000, 0.01, sampler)) <= 10
    for strength in (1.0, 0.01):
        with pytest.raises(InputError, match="steps is 1001, but .* 1000 timesteps.* give 1 to 1000"):
            model.timesteps(1001, strength, sampler)


def test_half_is_half_as_large(model, saved, tmp_path):
    half = model.save_pretrained(tmp_path, half=True)
    assert (half / "unet.safetensors").stat().st_size < 0.6 * (saved / "unet.safetensors").stat().st_size
    again = Msanii.from_pretrained(half, device="cpu")
    assert next(again.unet.parameters()).dtype == torch.float32
    for a, b in zip(again.unet.parameters(), model.unet.parameters()):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


def test_interrupted_save_leaves_the_old_files(model, tmp_path, monkeypatch):
    model.save_pretrained(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    def broken(path, data):
        path.write_text("half")
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(Path, "write_bytes", broken)
    with pytest.raises(InputError, match="No space left"): model.save_pretrained(tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("damage, words", [
    (lambda f: (f / "config.json").write_text("{"), "config.json"),
    (lambda f: (f / "config.json").write_text("{}"), "config.json"),
    (lambda f: (f / "config.json").unlink(), "config.json"),
    (lambda f: (f / "vocoder.safetensors").unlink(), "vocoder.safetensors"),
    (lambda f: (f / "unet.safetensors").write_bytes((f / "unet.safetensors").read_bytes()[:-100]),
     "unet.safetensors"),
    (lambda f: (f / "unet.safetensors").write_bytes((f / "vocoder.safetensors").read_bytes()),
     "unet.safetensors"),
])
def test_damaged_folder(model, tmp_path, damage, words):
    damage(model.save_pretrained(tmp_path))
    with pytest.raises(InputError, match=words): Msanii.from_pretrained(tmp_path, device="cpu")


class Hub(BaseHTTPRequestHandler):
    "As much of the Hub's protocol as a snapshot needs, over a local folder."
    commit = "0123456789abcdef0123456789abcdef01234567"

    def log_message(self, *args): pass
    def do_HEAD(self): self.answer(body=False)
    def do_GET(self): self.answer(body=True)

    def answer(self, body):
        path = self.path.split("?")[0]
        there = [name for name in FILES if (self.server.folder / name).exists()]
        if path.startswith("/api/models/someone/model/tree/"):
            sizes = {name: (self.server.folder / name).stat().st_size for name in there}
            files = [dict(type="file", path=name, size=size, oid="0" * 40) for name, size in sizes.items()]
            data = json.dumps(files).encode()
        elif path.startswith("/api/models/someone/model"):
            files = [{"rfilename": name} for name in [*there, "README.md"]]
            about = dict(id="someone/model", sha=self.commit, private=False, downloads=0, tags=[])
            data = json.dumps({**about, "siblings": files}).encode()
        elif path.startswith("/someone/model/resolve/") and (self.server.folder / Path(path).name).is_file():
            data = (self.server.folder / Path(path).name).read_bytes()
        else:
            self.send_response(404); self.send_header("Content-Length", "0"); self.end_headers()
            return
        self.send_response(200)
        tag = f'"{hashlib.sha256(data).hexdigest()}"'
        headers = {"Content-Length": len(data), "ETag": tag, "X-Repo-Commit": self.commit,
                   "Content-Type": "application/octet-stream"}
        for key, value in headers.items(): self.send_header(key, str(value))
        self.end_headers()
        if body: self.wfile.write(data)


@pytest.fixture(scope="module")
def hub(saved):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.folder = saved
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


LOAD = """
import sys
from msanii import Msanii
m = Msanii.from_pretrained(sys.argv[1], device="cpu")
print(m.sample(0.2, progress=False).double().sum().item())
"""


def load_from(hub, name, cache):
    env = dict(os.environ, HF_ENDPOINT=hub, HF_HOME=str(cache), HF_HUB_DISABLE_XET="1",
               HF_HUB_DISABLE_TELEMETRY="1")
    return subprocess.run([sys.executable, "-c", LOAD, name], env=env, capture_output=True, text=True)


def test_from_the_hub(model, hub, tmp_path):
    done = load_from(hub, "someone/model", tmp_path)
    assert done.returncode == 0, done.stderr
    here = model.sample(0.2, progress=False).double().sum().item()
    assert float(done.stdout.split()[-1]) == pytest.approx(here, abs=1e-6)


def test_not_on_the_hub(hub, tmp_path):
    done = load_from(hub, "someone/else", tmp_path)
    assert done.returncode != 0 and "InputError: someone/else is no folder here" in done.stderr


def test_push_to_the_hub(model, saved, monkeypatch):
    "The files that are pushed are the files of save_pretrained."
    pushed = {}
    class Api:
        def __init__(self, token=None): pushed["token"] = token
        def create_repo(self, repo_id, private, exist_ok): pushed["repo"] = repo_id
        def file_exists(self, repo_id, name): return there
        def upload_folder(self, repo_id, folder_path, commit_message):
            pushed.update({p.name: p.read_bytes() for p in Path(folder_path).iterdir()})
            return "address"
    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    for there in (True, False):
        pushed.clear()
        assert model.push_to_hub("someone/model", half=False, token="secret") == "address"
        assert (pushed.pop("token"), pushed.pop("repo")) == ("secret", "someone/model")
        assert there or pushed.pop("README.md").decode() == model.card(), "a card of one's own is left alone"
        assert pushed == {p.name: p.read_bytes() for p in saved.iterdir()}


def test_the_card_names_what_the_model_holds(model):
    card = model.card()
    assert all(f"| {name} | " in card for name in ("unet", "vocoder", "mel")) and model.fingerprint() in card


def test_a_model_without_a_part(model, saved, tmp_path):
    "It loads, does what it can, and says what it lacks, what needs it, and how to get it."
    config = json.loads((saved / "config.json").read_text())
    del config["unet"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    for name in ("vocoder", "mel"):
        (tmp_path / f"{name}.safetensors").write_bytes((saved / f"{name}.safetensors").read_bytes())
    part = Msanii.from_pretrained(tmp_path, device="cpu")
    song = 0.1 * torch.randn(2, 5000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(part.reconstruct(song), model.reconstruct(song))
    assert list(part.parts) == ["vocoder", "mel"]
    assert not hasattr(part, "unet") and "unet" not in part.card()
    with pytest.raises(InputError, match="this model has no unet .needed for sample.* `msanii train unet"):
        part.sample(1)
    again = Msanii.from_pretrained(part.save_pretrained(tmp_path / "again"), device="cpu")
    assert again.fingerprint() == part.fingerprint() != model.fingerprint()


def test_another_format_is_named(saved, tmp_path):
    config = json.loads((saved / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "format": 2}))
    with pytest.raises(InputError, match="is of format 2, and this version of msanii reads format 1"):
        Msanii.from_pretrained(tmp_path)


def msanii(*args):
    command = [Path(sys.executable).parent / "msanii", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True)


def test_command_makes_the_same_music_as_python(model, saved, tmp_path):
    how = ("--weights", saved, "--seconds", 0.5, "--steps", 2, "--seed", 3)
    done = msanii("sample", *how, "--out", tmp_path / "a.wav")
    assert done.returncode == 0, done.stderr
    expected = model.sample(0.5, steps=2, seed=3, progress=False)[0]
    torch.testing.assert_close(load_audio(tmp_path / "a.wav"), expected, atol=1 / 32767, rtol=0)


@pytest.mark.parametrize("args, words", [
    (["sample", "--weights", "no such folder"], "no such folder"),
    (["sample", "--weights", "SAVED", "--seconds", "0"], "seconds is 0"),
    (["sample", "--weights", "SAVED", "--out", "a.xyz", "--seconds", "0.1"], "a.xyz"),
    (["sample", "--weights", "SAVED", "--steps", "0"], "steps"),
    (["sample", "--weights", "SAVED", "--batch", "0"], "batch"),
    (["demo", "--data", "no/such/folder"], "no/such/folder"),
    (["sing"], "sample"),
])
def test_unusable_input_is_one_line(saved, args, words):
    done = msanii(*(str(saved) if a == "SAVED" else a for a in args))
    assert done.returncode == 2
    assert words in done.stderr and done.stderr.startswith("msanii") and done.stderr.strip().count("\n") == 0


@pytest.mark.parametrize("device", ("gpu", "cuda:99", "cuda:-2", 3.5))
def test_a_device_that_there_is_not(model, device):
    with pytest.raises(InputError, match="device is .*there is none of this name here: give another"):
        model.to(device)
    assert model.device.type == "cpu"


def test_three_channels(small_model):
    "A network that joins the channels says how to mix them; without a network they pass."
    joined, sound = small_model(), 0.1 * torch.ones(3, 9000)
    how = dict(steps=1, progress=False)
    with pytest.raises(InputError, match="a has 3 channels.*give"): joined.interpolate(sound, sound, **how)
    for task in (lambda: joined.style_transfer(sound, **how), lambda: joined.outpaint(sound, 0.1, **how),
                 lambda: joined.inpaint(sound, [(0.05, 0.1)], **how)):
        with pytest.raises(InputError, match="has 3 channels.*one or two: `set_channels"): task()
    assert joined.reconstruct(sound).shape == sound.shape


def test_two_trainings_into_one_folder(model, tmp_path, monkeypatch):
    "The part that another process writes in the meantime stays in config.json."
    from msanii import pipeline
    write, others = pipeline._write_weights, []
    def slowly(folder, name, part, half=False):
        write(folder, name, part, half)
        if name == "unet":
            script = ("import sys; from msanii.pipeline import pretrained_vocoder, save_part\n"
                      "save_part(sys.argv[1], 'vocoder', *pretrained_vocoder())")
            others.append(subprocess.Popen([sys.executable, "-c", script, str(folder)]))
            with pytest.raises(subprocess.TimeoutExpired): others[0].wait(12)  # it waits for us
    monkeypatch.setattr(pipeline, "_write_weights", slowly)
    pipeline.save_part(tmp_path, "unet", model.unet, model.mel)
    assert others[0].wait(60) == 0
    assert {"unet", "vocoder", "mel"} <= set(json.loads((tmp_path / "config.json").read_text()))
