"""What 09_training cannot hold: damaged checkpoints, loss that is not a number, half-written folders, other recipes."""
import functools
import math
import os
from dataclasses import replace

os.environ["ACCELERATE_USE_CPU"] = "true"  # equality to the bit is promised on a processor

import pytest
import torch

from msanii.audio import InputError
from msanii.diffusion import Schedule
from msanii.mel import MelTransform
from msanii.training import RECIPES, Recipe, checkpoints, load_checkpoint, paper_steps, save_checkpoint, train, unet_loss, warm_up
from msanii.unet import UNet

RECIPE = Recipe(dict(width=16, levels=2, blocks=1, heads=4, expansion=1), steps=8, batch=2, frames=4, lr=1e-3, warmup=4, ema_start=4, ema_every=2, save_every=3, validate_every=4)


class Noise(torch.utils.data.Dataset):
    "Items that depend on their number alone."
    def __len__(self): return 64
    def __getitem__(self, i): return {"waveform": torch.randn(2, 3 * 1024, generator=torch.Generator().manual_seed(i)) / 10}


MEL = MelTransform()
LOSS = functools.partial(unet_loss, mel=MEL, schedule=Schedule.named("cosine"), objective="v")


def run(recipe=RECIPE, folder=None, loss=LOSS, callback=None):
    torch.manual_seed(0)
    return train(UNet(**recipe.network), loss, Noise(), recipe, Noise(), folder=folder, callback=callback, progress=False)


class Cut(Exception): pass


def cut_at(n):
    def callback(step, history):
        if step == n: raise Cut
    return callback


@pytest.mark.parametrize("n", [1, 3, 4, 7])
def test_resume_is_exact(tmp_path, n):
    whole, history = run()
    with pytest.raises(Cut): run(folder=tmp_path, callback=cut_at(n))
    resumed, history2 = run(folder=tmp_path)
    assert history == history2
    for a, b in zip(whole.parameters(), resumed.parameters()): assert torch.equal(a, b)


def test_a_finished_run_is_not_repeated(tmp_path):
    first, _ = run(folder=tmp_path)
    again, _ = run(folder=tmp_path, loss=None)
    for a, b in zip(first.parameters(), again.parameters()): assert torch.equal(a, b)


def test_a_longer_run_goes_on(tmp_path):
    run(folder=tmp_path)
    longer = replace(RECIPE, steps=12)
    resumed, history = run(longer, folder=tmp_path)
    whole, history2 = run(longer)
    assert [h["loss"] for h in history if "loss" in h] == [h["loss"] for h in history2 if "loss" in h]
    for a, b in zip(whole.parameters(), resumed.parameters()): assert torch.equal(a, b)


def test_a_half_written_checkpoint_does_not_count(tmp_path):
    run(folder=tmp_path)
    (tmp_path / "checkpoint-00000099.tmp").mkdir()
    assert [p.name for p in checkpoints(tmp_path)] == ["checkpoint-00000006", "checkpoint-00000008"]


@pytest.mark.parametrize("name", ["model.safetensors", "ema.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_damaged_checkpoint_is_named(tmp_path, name, damage):
    run(folder=tmp_path)
    path = checkpoints(tmp_path)[-1] / name
    data = path.read_bytes()
    path.unlink() if damage == "missing" else path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="checkpoint-00000008"): run(folder=tmp_path)


def test_moving_average_is_what_comes_back():
    net, _ = run(replace(RECIPE, ema=0.0, ema_start=2, ema_every=1))
    raw, _ = run(replace(RECIPE, ema_start=1000))
    for a, b in zip(net.parameters(), raw.parameters()): assert torch.equal(a, b)
    slow, _ = run(replace(RECIPE, ema=0.99, ema_start=2, ema_every=1))
    assert any(not torch.equal(a, b) for a, b in zip(slow.parameters(), raw.parameters()))


def test_validation_is_the_same_each_time():
    _, a = run(); _, b = run(replace(RECIPE, lr=1e-12, ema_start=100))
    valid = [h["valid"] for h in b if "valid" in h]
    assert len(valid) == 3 and max(valid) - min(valid) < 1e-5
    assert a[0]["valid"] == b[0]["valid"] and a[0]["step"] == 0


def test_loss_that_is_not_a_number_is_skipped():
    def sometimes(model, batch):
        return LOSS(model, batch) * (math.nan if 4 in batch["index"] and model.training else 1)
    net, history = run(loss=sometimes)
    assert sum(math.isnan(h["loss"]) for h in history if "loss" in h) == 1
    assert all(p.isfinite().all() for p in net.parameters())


def test_loss_that_stays_infinite_stops_the_run():
    with pytest.raises(FloatingPointError, match="learning rate"):
        run(replace(RECIPE, steps=30), loss=lambda model, batch: LOSS(model, batch) * math.inf)


def test_recipes():
    assert RECIPES["unet"]["paper"].lr == 2e-4 and RECIPES["vocoder"]["paper"].batch == 8
    assert paper_steps(501, 8192, 4) == 501 * math.ceil(63 * 3600 / (8191 * 1024 / 44100) / 4)
    assert warm_up(0, 500) == pytest.approx(1 / 3) and warm_up(10**6, 500) == 1
    with pytest.raises(InputError, match="unknown settings rate"): Recipe.from_dict({"rate": 1})
    with pytest.raises(InputError, match="batch"): Recipe(batch=0)
    with pytest.raises(InputError, match="precision"): Recipe(precision="int8")
