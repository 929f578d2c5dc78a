"""What a run of days has to survive, tried on real processes: kill -9, a full disk, and being shared out."""
import json, os, random, signal, subprocess, sys, time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from msanii.condition import SCORE_AND_CONTEXT
from msanii.corpus import render_corpus
from msanii.pop909 import Composed
from msanii.training import UNetRecipe, VocoderRecipe, checkpoints

ROOT = Path(__file__).parents[1]
ENV = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
HOW = dict(cwd=ROOT, env=ENV, text=True)
UNET = UNetRecipe(dict(width=16, levels=2, blocks=1, heads=4, expansion=1), steps=60, batch=4, frames=16,
                  lr=1e-3, warmup=4, ema_start=4, ema_every=2, save_every=2, validate_every=30,
                  condition=SCORE_AND_CONTEXT.settings(), shown=dict(score=0.6, context=0.5))
VOCODER = VocoderRecipe(dict(width=16, prior=True), steps=3, batch=4, frames=16, lr=1e-3, warmup=2,
                        save_every=2, gain=20)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scale") / "corpus"
    return render_corpus(Composed(785, 4.0), folder, numbers=[1, 2, 3, 780], n_jobs=1, progress=False)


def command(corpus, recipe, out, network="unet"):
    config = corpus.parent / f"{network}-{recipe.steps}.json"
    config.write_text(json.dumps(asdict(recipe)))
    options = ("--corpus", str(corpus), "--config", str(config), "--out", str(out))
    return ["-m", "msanii.app", "train", network, *options]


def train(*args, prefix=(sys.executable,), **kwargs):
    return subprocess.run([*prefix, *command(*args)], capture_output=True, timeout=240, **HOW, **kwargs)


def weights(out, network="unet"):
    assert out.exists()
    return load_file(out / f"{network}.safetensors")


@pytest.fixture(scope="module")
def uninterrupted(corpus):
    out = corpus.parent / "uninterrupted"
    done = train(corpus, UNET, out)
    assert done.returncode == 0, done.stderr
    return weights(out)


def test_killed_again_and_again(corpus, uninterrupted, tmp_path):
    rng, kills, reached = random.Random(time.time_ns()), 0, []
    for _ in range(12):
        words = [sys.executable, *command(corpus, UNET, tmp_path)]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **HOW)
        folder, before = tmp_path / "training" / "unet", time.monotonic()
        last = checkpoints(folder)[-1:]
        if kills < 4:  # at a random moment after its first new checkpoint, most of all while it writes one
            def waits(): return process.poll() is None and checkpoints(folder)[-1:] == last
            while waits() and time.monotonic() - before < 60: time.sleep(0.002)
            time.sleep(rng.random() * 0.2)
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                kills += 1
        _, errors = process.communicate()
        reached.append([p.name for p in checkpoints(folder)])
        if process.returncode == 0: break
        assert process.returncode == -signal.SIGKILL, errors
    assert kills >= 2 and process.returncode == 0, (kills, reached)
    resumed = weights(tmp_path)
    for name, tensor in uninterrupted.items(): assert torch.equal(tensor, resumed[name]), (name, reached)


@pytest.mark.parametrize("network, recipe", [("unet", replace(UNET, steps=3)), ("vocoder", VOCODER)])
def test_two_processes_are_one(corpus, tmp_path, network, recipe):
    one = train(corpus, recipe, tmp_path / "one", network)
    launch = (sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
              "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
              "--main_process_port", "0")
    two = train(corpus, recipe, tmp_path / "two", network, prefix=launch)
    assert one.returncode == 0 and two.returncode == 0, one.stderr + two.stderr
    newest = [checkpoints(tmp_path / out / "training" / network)[-1] for out in ("one", "two")]
    one, two = (json.loads((path / "state.json").read_text()) for path in newest)
    assert one["processes"] == 1 and two["processes"] == 2
    for a, b in zip(one["history"], two["history"]):
        for name in a: assert a[name] == pytest.approx(b[name], abs=1e-5, rel=1e-5), (a, b)
    a, b = weights(tmp_path / "one", network), weights(tmp_path / "two", network)
    for name in a: assert torch.allclose(a[name], b[name], atol=1e-5), name


def test_an_uneven_share_is_refused(corpus, tmp_path):
    launch = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    done = train(corpus, replace(UNET, batch=3), tmp_path, prefix=launch)
    assert done.returncode != 0 and "shared out evenly to 2 processes" in done.stderr


def test_full_disk(corpus, tmp_path):
    "A limit on the size of files stands in for a full disk: writing a checkpoint fails in the same place."
    recipe = replace(UNET, steps=4)
    assert train(corpus, recipe, tmp_path).returncode == 0
    longer = replace(UNET, steps=8)
    limit = ("import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000)); "
             "sys.argv.pop(0); sys.argv[0] = 'msanii'; "
             "from msanii.app import main; sys.exit(main(sys.argv[1:]))")
    words = [sys.executable, "-c", limit, *command(corpus, longer, tmp_path)[1:]]
    done = subprocess.run(words, capture_output=True, **HOW)
    assert done.returncode == 2 and "make room on the disk" in done.stderr, done
    assert "Traceback" not in done.stderr, done
    folder = tmp_path / "training" / "unet"
    assert [p.name for p in checkpoints(folder)] == ["checkpoint-00000002", "checkpoint-00000004"]
    assert not list(folder.glob("*.tmp"))
    assert train(corpus, longer, tmp_path).returncode == 0
    whole = tmp_path / "whole"
    assert train(corpus, longer, whole).returncode == 0
    for name, tensor in weights(whole).items(): assert torch.equal(tensor, weights(tmp_path)[name])


@pytest.mark.parametrize("words, answer", [("flute", "vocoder or unet"), ("unet --config huge", "--show"),
                                           ("unet --corpus {}", "msanii corpus")])
def test_what_train_refuses(tmp_path, words, answer):
    words = [*words.format(tmp_path).split(), "--out", str(tmp_path / "m")]
    done = subprocess.run([sys.executable, "-m", "msanii.app", "train", *words], capture_output=True, **HOW)
    assert done.returncode == 2 and answer in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
