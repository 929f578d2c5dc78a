"""What CONTRIBUTING says of adding a sampler, a field and a task, done for real: each with as little as is
said there."""
import json

import pytest
import soundfile as sf
import torch

from msanii import Msanii, Vocoder
from msanii.app import commands, main
from msanii.audio import InputError
from msanii.condition import SCORE_AND_CONTEXT, Condition, Field
from msanii.corpus import Windows, render_corpus
from msanii.diffusion import to_eps
from msanii.pop909 import Composed
from msanii.samplers import SAMPLERS, Sampler
from msanii.tasks import TASKS, Input, Task
from msanii.walk import SEED, STEPS, Parameter

TINY = dict(width=16, levels=3, blocks=1, heads=4, expansion=1, join=True)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def row():
    "Put a row into a table for one test."
    taken = []
    def put(table, name, value):
        assert name not in table
        table[name] = value
        taken.append((table, name))
    yield put
    for table, name in taken: del table[name]


def test_a_sampler(model, row):
    "A function of a denoiser and a row in SAMPLERS: every task takes it by its name."
    def euler(denoiser, x, timesteps, generator=None, callback=None):
        schedule = denoiser.schedule
        for i, (t, s) in enumerate(zip(timesteps, [*timesteps[1:], -1])):
            x0 = denoiser(x, t)
            x = schedule.alpha(s, x) * x0 + schedule.sigma(s, x) * to_eps(x0, x, t, schedule, "x0")
            if callback: callback(i, t, x, x0)
        return x
    with pytest.raises(InputError, match="ddpm, ddim or dpm"): model.sample(0.3, sampler="euler")
    row(SAMPLERS, "euler", Sampler(euler))
    how = dict(steps=3, progress=False)
    torch.testing.assert_close(model.sample(0.3, sampler="euler", **how),
                               model.sample(0.3, sampler="ddim", **how))
    song = 0.1 * torch.randn(2, 20_000, generator=torch.Generator().manual_seed(0))
    assert model.inpaint(song, [(0.1, 0.2)], sampler="euler", **how).shape == song.shape
    with pytest.raises(InputError, match="ddpm, ddim, dpm or euler"): model.sample(0.3, sampler="heun")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    return render_corpus(Composed(), folder, [1, 2, 780], seconds=4, n_jobs=1, progress=False)


def test_a_field(corpus, row, tmp_path):
    "A Field in a recipe and a row in DRAWS: trained, saved with the weights, shown by name, guided alone."
    pytest.importorskip("accelerate")
    from msanii.lessons import DRAWS
    from msanii.training import UNetRecipe, train_unet
    from msanii.pipeline import save_part
    loudness = Field("loudness", 1)
    fields = Condition([*SCORE_AND_CONTEXT.fields.values(), loudness])
    recipe = UNetRecipe(TINY, steps=2, batch=2, frames=32, objective="x0", condition=fields.settings(),
                        shown=dict(score=0.5, context=0.5, loudness=0.5))
    with pytest.raises(InputError, match="DRAWS"): train_unet(corpus, recipe, progress=False)
    row(DRAWS, "loudness", lambda batch, i, x0, rng: x0[i : i + 1].mean((1, 2), keepdim=True))
    unet, mel, history = train_unet(corpus, recipe, progress=False)
    assert history[-1]["step"] == 2 and unet.d_cond == 658 + 2

    save_part(tmp_path, "unet", unet, mel, dict(objective="x0", steps=2), condition=fields)
    save_part(tmp_path, "vocoder", Vocoder(width=16, prior=True), mel)
    m = Msanii.from_pretrained(tmp_path, device="cpu")
    assert m.condition == fields
    assert json.loads((tmp_path / "config.json").read_text())["condition"] == fields.settings()
    x = torch.randn(1, 2, 128, 32, generator=torch.Generator().manual_seed(0))
    told = m.show(x.shape, loudness=torch.full((1, 1, 1, 32), 0.3))
    assert told[:, :, 658].eq(0.3).all() and told[:, :, 659].eq(1).all() and told[:, :, :658].eq(0).all()
    walk = lambda **how: m.denoise(x, [900, 400], progress=False, **how)
    assert not torch.equal(walk(cond=told), walk())
    torch.testing.assert_close(walk(cond=told, guidance=dict(loudness=0)),
                               walk(cond=m.condition.without(told, "loudness")))
    with pytest.raises(InputError, match="loudnes'"): walk(cond=told, guidance=dict(loudnes=2))


def test_a_task(model, row, tmp_path, capsys):
    "A function and a row in TASKS: a command with its help and its checks, and a button with its knobs."
    gain = Parameter("gain", "how much louder", 6.0, low=-20, high=20)
    def louder(m, waveform, gain, **_): return waveform * 10 ** (gain / 20)
    files = Input("files", "audio", "the audio", many=True)
    row(TASKS, "louder", Task("Make pieces louder.", louder, (files,), (gain, SEED, STEPS),
                              "{} louder by {gain:g} dB", examples=("msanii louder a.wav --gain 3",)))
    model.save_pretrained(tmp_path / "model")
    sound = 0.1 * torch.randn(5_000, 2, generator=torch.Generator().manual_seed(0)).numpy()
    for name in ("a", "b"): sf.write(tmp_path / f"{name}.wav", sound, 44_100, subtype="FLOAT")
    say = lambda *words: (main([*map(str, words)]), *capsys.readouterr())
    code, out, _ = say("--help")
    assert code == 0 and "louder          Make pieces louder." in out and "louder" in commands()
    code, out, _ = say("louder", "--help")
    assert code == 0 and "--gain GAIN" in out and "how much louder (default: 6.0)" in out
    assert "msanii louder a.wav --gain 3" in out
    how = ["--weights", tmp_path / "model", "--out", tmp_path / "out.wav"]
    code, out, _ = say("louder", tmp_path / "a.wav", tmp_path / "b.wav", "--gain", 6, *how)
    assert code == 0 and out.count("louder by 6 dB") == 2
    assert abs(sf.read(tmp_path / "out-a.wav")[0] - sound * 10 ** 0.3).max() < 1e-3
    code, _, err = say("louder", tmp_path / "a.wav", "--gain", 30, *how)
    assert code == 2 and "--gain is 30.0: give a number from -20 to 20" in err

    pytest.importorskip("ipywidgets")
    from msanii.studio import Studio
    studio = Studio(model, tmp_path / "page")
    assert "louder" in studio.task.options
    studio.task.value = "louder"
    assert [widget.description for widget in studio.form.children] == ["gain", "seed", "steps"]
    studio.fields["gain"].value = 3
    studio.run()
    studio.job.join()
    made = load_made(studio, "1-louder.flac")
    assert made["settings"]["gain"] == 3 and made["command"].startswith("msanii louder ")
    assert "--gain 3" in made["command"]


def load_made(studio, name): return json.loads((studio.folder / name).with_suffix(".json").read_text())
