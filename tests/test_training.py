"""What 32_training cannot hold: damaged checkpoints, loss that is no number, half-written and old files."""
import functools
import json
import math
import os
from dataclasses import asdict, replace
from importlib.resources import files

os.environ["ACCELERATE_USE_CPU"] = "true"  # equality to the bit is promised on a processor

import pytest
import torch

from msanii import training
from msanii.audio import InputError
from msanii.condition import SCORE_AND_CONTEXT, Condition, Field
from msanii.diffusion import Schedule
from msanii.lessons import DRAWS, draw_condition, draw_keep, retuned, unet_loss
from msanii.mel import MelTransform
from msanii.training import (PARTS, RECIPES, Recipe, UNetRecipe, VocoderRecipe, checkpoints, paper_steps,
                             train, warm_up)
from msanii.unet import UNet

RECIPE = UNetRecipe(dict(width=16, levels=2, blocks=1, heads=4, expansion=1), steps=8, batch=2, frames=4,
                    lr=1e-3, warmup=4, ema_start=4, ema_every=2, save_every=3, validate_every=4)


class Noise(torch.utils.data.Dataset):
    "Items that depend on their number alone."
    def __len__(self): return 64
    def __getitem__(self, i):
        rng = torch.Generator().manual_seed(i)
        waveform = torch.randn(2, 3 * 1024, generator=rng) / 10
        return {"waveform": waveform, "roll": torch.rand(1, 528, 4, generator=rng)}


MEL = MelTransform()
LOSS = functools.partial(unet_loss, mel=MEL, schedule=Schedule.named("cosine"), objective="v")


def run(recipe=RECIPE, folder=None, loss=LOSS, callback=None):
    torch.manual_seed(0)
    unet = UNet(**recipe.network, d_cond=Condition(recipe.condition).rows)
    return train(unet, loss, Noise(), recipe, Noise(), folder=folder, callback=callback, progress=False)


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


def test_the_end_may_be_moved_until_the_rate_falls(tmp_path):
    recipe = replace(RECIPE, steps=12, decay=0.5)  # falls from step 6 on
    with pytest.raises(Cut): run(recipe, folder=tmp_path, callback=cut_at(4))  # checkpoint of step 3
    shorter = replace(recipe, steps=8)             # falls from step 4 on
    moved, _ = run(shorter, folder=tmp_path)
    whole, _ = run(shorter)
    for a, b in zip(whole.parameters(), moved.parameters()): assert torch.equal(a, b)
    with pytest.raises(InputError, match="begun to fall"): run(recipe, folder=tmp_path)


def test_a_half_written_checkpoint_does_not_count(tmp_path):
    run(folder=tmp_path)
    (tmp_path / "checkpoint-00000099.tmp").mkdir()
    assert [p.name for p in checkpoints(tmp_path)] == ["checkpoint-00000006", "checkpoint-00000008"]


def damage(path, how):
    data = bytearray(path.read_bytes())
    path.unlink()
    if how == "half": path.write_bytes(data[: len(data) // 2])
    if how == "flip":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)


@pytest.mark.parametrize("name", [*(f"{part}.safetensors" for part in PARTS), "state.json"])
@pytest.mark.parametrize("how", ["missing", "half", "flip"])
def test_damaged_checkpoint(tmp_path, name, how):
    if name == "state.json" and how == "flip": pytest.skip("a json has no checksum")
    whole, history = run(folder=tmp_path)
    damage(checkpoints(tmp_path)[-1] / name, how)
    with pytest.warns(UserWarning, match="checkpoint-00000008 is damaged"):
        again, history2 = run(folder=tmp_path)
    assert history == history2
    for a, b in zip(whole.parameters(), again.parameters()): assert torch.equal(a, b)
    for path in checkpoints(tmp_path): damage(path / name, how)
    with pytest.warns(UserWarning), pytest.raises(InputError, match="all 2 checkpoints"): run(folder=tmp_path)


def test_other_data_is_refused(tmp_path):
    def train_it(about):
        train(UNet(**RECIPE.network), LOSS, Noise(), RECIPE, folder=tmp_path, progress=False, about=about)
    train_it({"songs": 3})
    with pytest.raises(InputError, match="other data"): train_it({"songs": 4})
    with pytest.raises(InputError, match=r"other settings than this run's \(lr\)"):
        run(replace(RECIPE, lr=0.5), folder=tmp_path)
    with pytest.raises(InputError, match="another kind of run"):
        train(UNet(**RECIPE.network), None, Noise(), VocoderRecipe(), folder=tmp_path, progress=False)


def test_accumulation_is_one_batch():
    whole, a = run(replace(RECIPE, batch=4))
    parts, b = run(replace(RECIPE, batch=4, accumulate=2))
    assert [h["step"] for h in a] == [h["step"] for h in b]
    for x, y in zip(a, b): assert x.get("loss", 0) == pytest.approx(y.get("loss", 0), abs=1e-5)
    for x, y in zip(whole.parameters(), parts.parameters()): assert torch.allclose(x, y, atol=1e-4)


def test_history_in_intervals_resumes_exactly(tmp_path):
    recipe = replace(RECIPE, log_every=4, save_every=3)
    _, history = run(recipe)
    with pytest.raises(Cut): run(recipe, folder=tmp_path, callback=cut_at(7))
    assert run(recipe, folder=tmp_path)[1] == history
    assert [h["step"] for h in history if "loss" in h] == [4, 8]


def test_the_log_holds_losses_and_samples(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    torch.manual_seed(0)
    recipe = replace(RECIPE, sample_every=4)
    sample = lambda model: {"mel": torch.zeros(2, 128, 9), "sound": torch.zeros(2, 4410)}
    unet = UNet(**recipe.network)
    train(unet, LOSS, Noise(), recipe, Noise(), folder=tmp_path, progress=False, sample=sample)
    events = EventAccumulator(str(tmp_path / "log")).Reload()
    tags = events.Tags()
    assert {"loss", "valid", "lr"} <= set(tags["scalars"])
    assert (tags["images"], tags["audio"]) == (["mel"], ["sound"])
    assert [e.step for e in events.Scalars("loss")] == list(range(1, 9))


def half_precision(monkeypatch, scale):
    """Accelerate refuses fp16 without a GPU. Here it is told to do on the processor what it does there:
    autocast to fp16, a scaler, and the scaler's check before each step."""
    def accelerator(**kwargs):
        made = training.Accelerator.real(**{**kwargs, "mixed_precision": "bf16"})
        made.state._mixed_precision, made.scaler = "fp16", torch.amp.GradScaler("cpu", init_scale=scale)
        return made
    accelerator.real = training.Accelerator
    monkeypatch.setattr(training, "Accelerator", accelerator)


def test_fp16_trains_like_fp32(monkeypatch):
    _, expected = run()
    seen = []
    half_precision(monkeypatch, 1024.0)
    def loss(model, batch):
        def watched(x, t):
            out = model(x, t)
            seen.append((x.dtype, [m.weight.dtype for m in [model.input]]))
            return out
        return LOSS(watched, batch)
    net, history = run(loss=loss)
    assert all(p.dtype == torch.float32 for p in net.parameters())
    assert seen[0] == (torch.float32, [torch.float32])
    for a, b in zip(expected, history):
        if "loss" in a: assert a["loss"] == pytest.approx(b["loss"], rel=0.03) and a["loss"] != b["loss"]
    assert history[-1]["skipped"] == 0


def test_fp16_leaves_out_a_step_that_overflows(monkeypatch):
    half_precision(monkeypatch, 2.0**40)
    net, history = run(replace(RECIPE, steps=40, validate_every=100))
    skipped = [h["skipped"] for h in history if "skipped" in h]
    assert skipped[0] == 1 and 5 < skipped[-1] < 35
    assert skipped[-1] == skipped[-2]  # until the factor has fallen far enough
    assert all(p.isfinite().all() for p in net.parameters())


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


def test_gradient_that_is_not_a_number_is_skipped():
    def rooted(model, batch):  # finite; the gradient of the root of 0 is not
        zero = sum(p.sum() for p in model.parameters()) * 0
        return LOSS(model, batch) + (zero.sqrt() if 4 in batch["index"] and model.training else 0)
    net, history = run(loss=rooted)
    assert all(math.isfinite(h["loss"]) for h in history if "loss" in h)
    assert all(p.isfinite().all() for p in net.parameters())


def test_loss_that_stays_infinite_stops_the_run():
    with pytest.raises(FloatingPointError, match="learning rate"):
        run(replace(RECIPE, steps=30), loss=lambda model, batch: LOSS(model, batch) * math.inf)


@pytest.mark.parametrize("hz", [200, 3000, 15_000])
def test_retuned_is_the_tone_of_another_pitch(hz):
    "What comes out is the tone sampled at other places, and says by its number alone by how much."
    n, index = 44_100, torch.arange(12)
    places = torch.arange(n, dtype=torch.float64)
    tone = lambda t: torch.sin(2 * math.pi * hz / 44_100 * t).float()
    out = retuned(tone(places).expand(12, 2, n), index, share=1)
    assert out.shape == (12, 2, n * 200 // 206)
    steps = []
    for i in index.tolist():
        tuned = lambda k: tone(places[: out.shape[-1]] * (200 + k) / 200)
        wrong = lambda k: (out[i, 0] - tuned(k))[1000:-1000].abs().max()
        errors = {k: wrong(k) for k in range(-6, 7)}
        steps.append(min(errors, key=errors.get))
        assert errors[steps[-1]] < 1e-3
    g = [torch.Generator().manual_seed(i + 2**30) for i in index.tolist()]
    assert steps == [int(torch.randint(-6, 7, (), generator=one)) for one in g] and len(set(steps)) > 5
    again = retuned(tone(places).expand(2, 2, n), index[3:5], share=1)
    assert torch.equal(again, out[3:5])


def test_recipes():
    assert RECIPES["unet"]["paper"].lr == 2e-4 and RECIPES["vocoder"]["paper"].batch == 8
    assert paper_steps(501, 8192, 4) == 501 * math.ceil(63 * 3600 / (8191 * 1024 / 44100) / 4)
    assert warm_up(0, 500) == pytest.approx(1 / 3) and warm_up(10**6, 500) == 1
    with pytest.raises(InputError, match="unknown settings rate"): Recipe.from_dict({"rate": 1})
    with pytest.raises(InputError, match="batch"): Recipe(batch=0)
    with pytest.raises(InputError, match="precision"): Recipe(precision="int8")


# Conditions, field by field

SHOWN = dict(score=0.6, context=0.5)
def uniform(seed, *shape): return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


BATCH = {"index": torch.arange(40), "roll": uniform(0, 40, 1, 528, 12)}
X0 = uniform(1, 40, 2, 128, 12) * 2 - 1


def test_draws_are_those_of_the_first_version():
    "Two numbers decide; then the context draws what is kept. The package's network was trained with these."
    cond = draw_condition(SCORE_AND_CONTEXT, BATCH, X0, SHOWN, seed=3)
    for i in range(40):
        rng, expected = torch.Generator().manual_seed(3 * 2**32 + i + 2**31), torch.zeros(2, 658, 12)
        score, context = (torch.rand(2, generator=rng) < torch.tensor([0.6, 0.5])).tolist()
        if score: expected[:, :528], expected[:, 528] = 6 * BATCH["roll"][i], 1
        if context:
            keep = draw_keep(12, rng)
            expected[:, 529:657], expected[:, 657] = torch.where(keep, X0[i], 0), keep.float()
        assert torch.equal(cond[i], expected)


def test_a_field_of_ones_own(monkeypatch):
    tempo, loudness = Field("tempo", 1, hidden=False), Field("loudness", 2, scale=3.0)
    condition = Condition([tempo, *SCORE_AND_CONTEXT.fields.values(), loudness])
    with pytest.raises(InputError, match=r"add DRAWS\['tempo'\]"): draw_condition(condition, BATCH, X0, SHOWN)
    monkeypatch.setitem(DRAWS, "tempo", lambda batch, i, x0, rng: torch.full((1, 1, 1, x0.shape[-1]), 2.0))
    early = torch.arange(12) < 6
    monkeypatch.setitem(DRAWS, "loudness", lambda batch, i, x0, rng: (x0[i : i + 1, :, :2], early))
    cond = draw_condition(condition, BATCH, X0, dict(SHOWN, tempo=0.0))
    assert (cond[:, :, condition.places["tempo"]] == 2).all()  # it cannot be hidden, whatever is asked
    loud = cond[:, :, condition.places["loudness"]]
    assert torch.equal(loud[..., :6], 3 * X0[:, :, :2, :6]) and not loud[..., 6:].any()
    assert 5 < cond[:, 0, condition.places["score"].stop, 0].sum() < 35
    with pytest.raises(InputError, match="'scor'"): draw_condition(condition, BATCH, X0, dict(scor=0.5))


def test_a_field_is_drawn_by_itself():
    "How often one field is shown says nothing of when the other is."
    row = SCORE_AND_CONTEXT.places["score"].stop
    def scores(**shown): return draw_condition(SCORE_AND_CONTEXT, BATCH, X0, shown)[:, 0, row, 0]
    for score in (0, 0.5): assert torch.equal(scores(score=score), scores(score=score, context=0))
    assert scores(score=0.5).sum() < scores(score=0.9).sum() < 40 == scores().sum()


# Recipes of before

def flat(recipe, **settings):
    "A U-Net's recipe as it was written when one kind of recipe served both networks."
    old = {name: value for name, value in asdict(recipe).items() if name not in ("condition", "shown")}
    old["network"] = {**recipe.network, "d_cond": 658}
    return {**old, "gain": 0.0, "detune": 0.0, "w_sc": 1.0, **settings}


def test_flat_recipes(tmp_path):
    read = UNetRecipe.from_dict(flat(RECIPE, score=0.75, context=0.4))
    shown = dict(score=0.75, context=0.4)
    assert read == replace(RECIPE, condition=SCORE_AND_CONTEXT.settings(), shown=shown)
    assert UNetRecipe.from_dict(flat(RECIPE)).shown == dict(score=0.0, context=0.0)
    plain = flat(RECIPE, score=0.0, context=0.0, network=RECIPE.network)
    assert UNetRecipe.from_dict(plain) == RECIPE and Recipe.from_dict(plain).steps == 8
    with pytest.raises(InputError, match="d_cond=658"): UNetRecipe.from_dict({"score": 0.5})
    with pytest.raises(InputError, match="unknown settings detune"): UNetRecipe.from_dict({"detune": 0.5})
    others = dict(schedule="cosine", objective="epsilon", score=0.0, context=0.0)
    assert VocoderRecipe.from_dict(dict(gain=30, **others)) == VocoderRecipe(gain=30)
    with pytest.raises(InputError, match="settings objective"): VocoderRecipe.from_dict({"objective": "v"})
    (tmp_path / "old.json").write_text(json.dumps(flat(RECIPE, score=0.75, context=0.4)))
    assert UNetRecipe.from_file(tmp_path / "old.json") == read


@pytest.mark.parametrize("name, kind, shipped", [("unet", UNetRecipe, RECIPES["unet"]["shipped"]),
                                                 ("vocoder", VocoderRecipe, RECIPES["vocoder"]["shipped"]),
                                                 ("vocoder-paper", VocoderRecipe, None)])
def test_recipes_beside_the_weights(name, kind, shipped):
    history = json.loads((files("msanii") / "pretrained" / f"{name}.history.json").read_text())
    recipe = kind.from_dict(history["recipe"])
    assert recipe.steps and (shipped is None or recipe == shipped)


@pytest.mark.parametrize("recipe", [recipe for kinds in RECIPES.values() for recipe in kinds.values()])
def test_recipes_are_json(tmp_path, recipe):
    (tmp_path / "recipe.json").write_text(json.dumps(asdict(recipe)))
    assert type(recipe).from_file(tmp_path / "recipe.json") == recipe


def test_a_checkpoint_of_before_resumes(tmp_path):
    recipe = replace(RECIPE, condition=SCORE_AND_CONTEXT.settings(), shown=SHOWN)
    loss = functools.partial(LOSS, condition=SCORE_AND_CONTEXT, shown=SHOWN)
    whole, history = run(recipe, loss=loss)
    with pytest.raises(Cut): run(recipe, folder=tmp_path, loss=loss, callback=cut_at(4))
    [path] = checkpoints(tmp_path)
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps({**state, "recipe": flat(recipe, **SHOWN)}))
    resumed, history2 = run(recipe, folder=tmp_path, loss=loss)
    assert history == history2
    for a, b in zip(whole.parameters(), resumed.parameters()): assert torch.equal(a, b)
    with pytest.raises(InputError, match=r"\(shown\)"):
        run(replace(recipe, shown=dict(SHOWN, score=0.1)), folder=tmp_path)


FIELDS = SCORE_AND_CONTEXT.settings()


def test_conditions_of_recipes():
    assert UNetRecipe(dict(d_cond=658), condition=FIELDS).network == {}
    assert UNetRecipe(condition=list(SCORE_AND_CONTEXT.fields.values())).condition == FIELDS


@pytest.mark.parametrize("wrong, words", [
    (dict(network=dict(d_cond=10)), "leave d_cond out"), (dict(shown=dict(score=1)), "no field 'score'"),
    (dict(condition=[dict(name="x")]), "no list of fields"), (dict(condition=["score"]), "no list of fields"),
    (dict(condition=FIELDS, shown=dict(score=2)), "between 0 and 1")])
def test_conditions_that_cannot_be(wrong, words):
    with pytest.raises(InputError, match=words): UNetRecipe(**wrong)
