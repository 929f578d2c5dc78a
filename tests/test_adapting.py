"""Going on from a model with recordings: recipes that fit and that do not, adapters saved and put on."""
import json
from dataclasses import asdict, replace

import pytest
import torch

from msanii.adapting import Adapting, adapt, fitted
from msanii.audio import InputError, save_audio
from msanii.condition import BAND_AND_CONTEXT, SCORE_AND_CONTEXT
from msanii.corpus import Mixed, Windows, record_corpus, render_corpus
from msanii.pipeline import Msanii, merge, save_adapter
from msanii.pop909 import Composed
from msanii.lessons import draw_condition
from msanii.training import RECIPES, UNetRecipe
from msanii.unet import UNet

needs_peft = lambda: pytest.importorskip("peft", reason="peft, an optional extra, is missing")
TINY = dict(steps=3, batch=2, frames=16, warmup=1, ema_start=2, ema_every=1, save_every=2, validate_every=10)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    "A corpus of a recording of 12 s."
    top = tmp_path_factory.mktemp("recorded")
    sound = torch.randn(2, 12 * 44_100, generator=torch.Generator().manual_seed(0)) / 20
    save_audio(top / "rec" / "deep" / "noise.flac", sound)
    return record_corpus(top / "rec", top / "corpus", seconds=6, n_jobs=1, progress=False)


def short(m, kind="adapter", **more): return replace(fitted(RECIPES["unet"][kind], m), **{**TINY, **more})


def learn(m, corpus, rank=2, **kwargs):
    "A new model, its adapter, history."
    return adapt(m, corpus, short(m, "adapter" if rank else "adapt"), rank, progress=False, **kwargs)


def same(a, b):
    return all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


def test_the_whole_network_goes_on(model, recorded):
    before = {k: v.clone() for k, v in model.unet.state_dict().items()}
    new, weights, history = learn(model, recorded, rank=None)
    assert weights is None and history[-1]["step"] == 3
    assert not same(new.unet, model.unet) and all(torch.equal(v, before[k]) for k, v in
                                                  model.unet.state_dict().items())
    assert same(new.mel, model.mel) and new.settings == model.settings and new.condition == model.condition
    assert new.vocoder is model.vocoder


@pytest.mark.parametrize("conditional", [True, False])
def test_an_adapter_saved_and_loaded_is_the_same_to_the_bit(small_model, recorded, tmp_path, conditional):
    needs_peft()
    m = small_model(conditional)
    new, weights, _ = learn(m, recorded)
    assert not same(new.unet, m.unet)
    base = m.save_pretrained(tmp_path / "base")
    own = save_adapter(tmp_path / "own", weights, m, base)
    assert sorted(p.name for p in own.iterdir()) == ["adapter.safetensors", "config.json"]
    again, other = Msanii.from_pretrained(own, "cpu"), Msanii.from_pretrained(base, "cpu", adapter=own)
    assert again.fingerprint() == other.fingerprint() == new.fingerprint() != m.fingerprint()
    how = dict(via="noise", steps=2, progress=False)
    assert torch.equal(again.sample(0.3, **how), new.sample(0.3, **how))
    whole = Msanii.from_pretrained(again.save_pretrained(tmp_path / "whole"), "cpu")
    assert whole.fingerprint() == new.fingerprint(), "and it can be saved as a model of its own"


def test_adapters_on_adapters(small_model, recorded, tmp_path):
    needs_peft()
    m = small_model()
    first = save_adapter(tmp_path / "first", learn(m, recorded)[1], m, m.save_pretrained(tmp_path / "base"))
    m1 = Msanii.from_pretrained(first, "cpu")
    new, weights, _ = learn(m1, recorded, rank=1)
    second = save_adapter(tmp_path / "second", weights, m1, first)
    assert Msanii.from_pretrained(second, "cpu").fingerprint() == new.fingerprint()


def test_an_adapter_on_other_weights_is_refused(small_model, recorded, tmp_path):
    needs_peft()
    m = small_model()
    base = m.save_pretrained(tmp_path / "base")
    own = save_adapter(tmp_path / "own", learn(m, recorded)[1], m, base)
    with pytest.raises(InputError, match="own belongs on other weights"):
        Msanii.from_pretrained(device="cpu", adapter=own)
    with pytest.raises(InputError, match="base holds no adapter"):
        Msanii.from_pretrained(base, device="cpu", adapter=base)
    with torch.no_grad(): m.unet.output.bias += 1  # the same architecture, trained on
    m.save_pretrained(base)
    with pytest.raises(InputError, match="own belongs on other weights"): Msanii.from_pretrained(own)
    (base / "config.json").unlink()
    with pytest.raises(InputError, match="base holds no config.json"): Msanii.from_pretrained(own)


@pytest.mark.parametrize("damage", [lambda p: p.unlink(), lambda p: p.write_bytes(p.read_bytes()[:200]),
                                    lambda p: p.write_bytes(b"")])
def test_a_damaged_adapter(model, tmp_path, damage):
    A, B = torch.randn(1, *model.unet.input.weight.shape[1:]), torch.randn(16, 1, 1, 1)
    thin = {"input.lora_A.weight": A, "input.lora_B.weight": B}
    own = save_adapter(tmp_path / "own", thin, model, model.save_pretrained(tmp_path / "base"))
    Msanii.from_pretrained(own)
    damage(own / "adapter.safetensors")
    with pytest.raises(InputError, match="adapter.safetensors cannot be loaded"): Msanii.from_pretrained(own)


def test_merging_is_what_peft_computes(one_thread):
    "On layers of all kinds that networks here have, and on inputs long enough for the short way of a block."
    needs_peft()
    torch.manual_seed(0)
    unet = UNet(width=16, levels=2, blocks=1, heads=4, expansion=2)
    adapting = Adapting(unet, 3)
    for name, p in adapting.named_parameters():
        if "lora_B" in name: torch.nn.init.normal_(p, std=0.05)
    merged = merge(UNet(**unet.settings), {})
    merged.load_state_dict(unet.state_dict())
    merge(merged, adapting.state_dict())
    for frames in (16, 5000):
        x, t = torch.randn(1, 1, 128, frames), torch.tensor([300])
        with torch.no_grad(): theirs, ours, plain = adapting(x, t), merged(x, t), unet(x, t)
        torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=1e-4)
        assert (ours - plain).abs().mean() > 100 * (ours - theirs).abs().mean()


class Cut(Exception): pass


@pytest.mark.parametrize("rank", [None, 2])
def test_a_run_that_was_cut_off_goes_on_to_the_same_weights(model, recorded, tmp_path, rank):
    if rank: needs_peft()
    def cut(step, history):
        if step == 2: raise Cut
    with pytest.raises(Cut): learn(model, recorded, rank, folder=tmp_path, callback=cut)
    steps = []
    resumed = learn(model, recorded, rank, folder=tmp_path, callback=lambda step, _: steps.append(step))[0]
    assert steps == [3] and same(resumed.unet, learn(model, recorded, rank)[0].unet)
    if rank:
        files = list(tmp_path.glob("checkpoint-*/model.safetensors"))
        assert files and all(f.stat().st_size < 200_000 for f in files), "it holds the adapter alone"


def test_a_run_is_not_resumed_on_another_model(small_model, recorded, tmp_path):
    m = small_model()
    learn(m, recorded, None, folder=tmp_path)
    with torch.no_grad(): m.unet.output.bias += 1
    with pytest.raises(InputError, match="other data"): learn(m, recorded, None, folder=tmp_path)


@pytest.mark.parametrize("wrong, words", [
    (dict(network=dict(width=17)), r"width 17 \(it has 16\)"),
    (dict(network=dict(flavour=1)), r"flavour 1 \(it has None\)"),
    (dict(objective="v"), "another objective"),
    (dict(schedule="linear"), "another schedule"),
    (dict(condition=BAND_AND_CONTEXT.settings()), "another condition"),
])
def test_a_recipe_that_does_not_fit_is_refused(model, recorded, wrong, words):
    recipe = UNetRecipe(**{**TINY, **wrong})
    with pytest.raises(InputError, match=words): adapt(model, recorded, recipe, progress=False)


def test_a_recipe_that_fits_is_filled_in(model):
    given = UNetRecipe(dict(width=16), objective="x0", condition=SCORE_AND_CONTEXT.settings(),
                       shown=dict(score=0.1), lr=1e-5)
    full = fitted(given, model)
    assert full.network["levels"] == 3 and full.shown == dict(score=0.1) and full.lr == 1e-5
    assert fitted(full, model) == full
    assert UNetRecipe.from_dict(json.loads(json.dumps(asdict(full)))) == full
    with pytest.raises(InputError, match="rank is 0"): adapt(model, "nowhere", rank=0)


def test_the_score_of_a_recording_is_hidden(recorded, tmp_path):
    "Also where scored songs are in the same batch, and however often scores are shown."
    songs = render_corpus(Composed(2, 5.0), tmp_path / "songs", n_jobs=1, progress=False)
    both = Mixed([Windows(c, 16, length=40) for c in (songs, recorded)])
    batch = next(iter(torch.utils.data.DataLoader(both, batch_size=40)))
    batch["index"] = torch.arange(40)
    cond = draw_condition(SCORE_AND_CONTEXT, batch, torch.zeros(40, 2, 128, 16), dict(score=1, context=0.5))
    told = cond[:, 0, SCORE_AND_CONTEXT.places["score"].stop, 0].bool()
    assert torch.equal(told, batch["scored"]) and 5 < told.sum() < 35
    assert cond[~told][:, :, SCORE_AND_CONTEXT.places["score"]].abs().max() == 0
    context = cond[:, 0, SCORE_AND_CONTEXT.places["context"].stop].amax(-1)
    assert 0 < context[~told].mean() < 1, "the context is shown as ever"


def test_windows_longer_than_the_pieces_are_refused(model, recorded):
    with pytest.raises(InputError, match="pieces of 6 s, too short for windows of 5 s: .*--seconds 10"):
        adapt(model, recorded, short(model, frames=206), progress=False)


def test_without_peft_it_says_what_is_missing(model, recorded, monkeypatch):
    monkeypatch.setattr("msanii.adapting.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"peft; pip install 'msanii\[adapter\]'"): learn(model, recorded)
