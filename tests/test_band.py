"""A band: its notes and first guess, templates on disk, corpora, arrangements, stems, and their commands."""
import json
from types import SimpleNamespace

import numpy as np
import pretty_midi
import pytest
import torch

from msanii import Msanii
from msanii.app import main
from msanii.arranging import ARRANGEMENTS, arrange, study
from msanii.audio import InputError, load_audio
from msanii.condition import BAND_AND_CONTEXT, SCORE_AND_CONTEXT
from msanii.correction import Corrector
from msanii.corpus import Windows, render_corpus
from msanii.pipeline import Settings, pretrained_vocoder
from msanii.pop909 import Composed
from msanii.score import BAND, DRUMS, band_notes, band_roll, parse_players, program_of, render_score
from msanii.templates import ALL_PLAYERS, Templates, score_rows, wandering
from msanii.lessons import at_level
from msanii.training import UNetRecipe, train_unet
from msanii.unet import UNet


@pytest.fixture(scope="module")
def templates(): return Templates.load()


@pytest.fixture(scope="module")
def model(templates):
    "A small Corrector that has learned nothing, with the package's templates: what it plays is the guess."
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = Corrector(width=16, levels=3, blocks=1, heads=4, expansion=1, join=True,
                         d_cond=BAND_AND_CONTEXT.rows, told=BAND_AND_CONTEXT.places["score"].stop)
    settings = Settings(objective="x0", steps=3, iterations=2)
    return Msanii(unet, *pretrained_vocoder(), settings, BAND_AND_CONTEXT, templates=templates)


def score(*tracks):
    "Tracks (program, drum, notes (pitch, start, end, velocity), controls (number, value, time))."
    midi = pretty_midi.PrettyMIDI()
    for program, drum, notes, *controls in tracks:
        track = pretty_midi.Instrument(program, drum)
        track.notes = [pretty_midi.Note(v, p, a, b) for p, a, b, v in notes]
        track.control_changes = [pretty_midi.ControlChange(*c) for c in controls]
        midi.instruments.append(track)
    return midi


VOICES = [(8 * i, False, [(40 + 3 * i, 0.1 * i, 0.1 * i + 0.5, 60 + 4 * i)]) for i in range(16)]
FULL = score(*VOICES, (0, True, [(36, 0.0, 0.1, 100), (42, 0.5, 0.6, 70)]))


def test_each_note_once():
    table = band_notes(FULL)
    assert len(table) == 18 and (np.diff(table[:, 0]) >= 0).all()
    assert set(table[:, 5]) == {*range(0, 128, 8), DRUMS}
    assert BAND[int(table[table[:, 5] == 32][0, 4])] == "BASS"
    roll = band_roll(table, 80)
    assert roll[0, :88].gt(0).sum() == 16 and roll[0, 176:264].gt(0).sum() == 2


def test_controllers_of_other_numbers_and_late_ones_do_nothing():
    plain = score((0, False, [(60, 0, 1, 80)]))
    more = score((0, False, [(60, 0, 1, 80)], (91, 127, 0), (7, 10, 0.5), (10, 0, 0.5)))
    assert np.array_equal(band_notes(plain), band_notes(more))


@pytest.mark.parametrize("program", [0, 11, 24, 33, 48, 56, 73, 88, 119])
def test_a_note_alone_is_guessed(templates, program, mel):
    "One note of any program: in level, and in shape, near to FluidSynth's."
    midi = score((program, False, [(60, 0.5, 1.5, 90)]))
    true = mel.filters @ torch.as_tensor(magnitude_of(midi))
    guess = templates.guess(midi, true.shape[-1])
    level = lambda m: 10 * m[..., 25:60].square().sum().log10()
    assert abs(level(true) - level(guess)) < 2
    loud = true > true.amax() / 100
    assert (20 * (guess[loud] / true[loud]).log10()).abs().median() < 3.5


@pytest.fixture(scope="module")
def mel():
    from msanii.mel import MelTransform
    return MelTransform()


def magnitude_of(midi):
    from msanii.mel import magnitude
    return magnitude(render_score(midi))


def test_guess_in_pieces_is_the_guess(templates):
    whole = templates.guess(FULL, 100)
    parts = torch.cat([templates.guess(FULL, 37, start) for start in (0, 37, 74)], -1)[..., :100]
    torch.testing.assert_close(whole, parts)


def test_guess_follows_velocity_pan_and_silence(templates):
    at = lambda v, *controls: templates.guess(score((24, False, [(60, 0.1, 0.5, v)], *controls)), 40)
    ratio = at(100).sum() / at(50).sum()
    assert 3.8 < ratio < 4.1  # a quarter, but for the noise of rounding
    left, right = at(100, (10, 0, 0.0))[:, :, 10]
    assert left.sum() > 50 * right.sum()
    assert templates.guess(np.zeros((0, 7)), 10).eq(0).all()
    high = score((0, False, [(120, 0, 1, 90)]))
    assert templates.guess(high, 10).eq(0).all()  # beyond the piano


def test_templates_on_disk(tmp_path, templates):
    few = Templates.measure((0, DRUMS), n_jobs=1, progress=False)
    again = Templates(2, 1); again.load_state_dict(few.state_dict())
    assert torch.equal(again.guess(FULL, 20), few.guess(FULL, 20))
    off = 20 * (few.alone(0) / templates.alone(0)).log10()  # the package's were measured so, in 16 bits
    assert off.abs().median() < 0.3
    with pytest.raises(InputError, match="none.safetensors holds no templates"):
        Templates.load(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match="bad.safetensors holds no templates"):
        Templates.load(tmp_path / "bad.safetensors")


def test_templates_stay_on_the_processor(templates):
    "A model that moves to a GPU leaves them behind, since scores are added up by NumPy."
    table = np.array([[0, 1, 60, 100, 2, 0, 0.0]])
    moved = Templates(len(templates.player), len(templates.fine)).to("meta")
    assert {t.device.type for t in moved.state_dict().values()} == {"cpu"}
    moved.load_state_dict(templates.state_dict())
    assert torch.equal(moved.guess(table, 40), templates.guess(table, 40))
    assert moved.half().floor.dtype == torch.float16


def test_players_that_are_missing_are_played_by_relatives(templates):
    few = Templates(3); few.player.copy_(torch.tensor([0, 40, DRUMS]))
    assert [few.place(p) for p in (0, 42, 47, 100, DRUMS + 8)] == [0, 1, 1, 0, 2]
    assert tuple(templates.player.tolist()) == ALL_PLAYERS


def test_render_is_the_guess_before_training(model):
    "An untrained Corrector adds what its random output says, a few hundredths; the preview adds nothing."
    made, preview = (model.render(FULL, steps=steps, progress=False) for steps in (1, 0))
    assert made.shape == preview.shape and preview.abs().max() > 0.01
    assert (model.encode(made[None]) - model.encode(preview[None])).abs().mean() < 0.1
    assert torch.equal(preview, model.render(FULL, steps=0, progress=False))


def test_stems_add_up(model):
    for midi in (FULL, score((0, True, [(38, 0, 0.1, 100)])), score((33, False, [(40, 0, 1, 127)]))):
        mix, stems = (model.render(midi, steps=0, stems=s, progress=False) for s in (False, True))
        assert set(stems) == {BAND[int(r)] for r in band_notes(midi)[:, 4]}
        assert (sum(stems.values()) - mix).abs().max() < 1e-6


def test_a_loud_band_is_not_clipped(model):
    "Forty instruments at full velocity: turned down for the mel, and as loud as can be in the end."
    loud = score(*[(p, False, [(60, 0.1, 1, 127), (67, 0.1, 1, 127)]) for p in range(40)])
    made = model.render(loud, steps=0, progress=False)
    assert 0.9 < made.abs().max() <= 1
    soft = score(*[(p, False, [(60, 0.1, 1, 20)]) for p in range(2)])
    assert model.render(soft, steps=0, progress=False).abs().max() < 0.2


def test_what_cannot_be_played(model):
    with pytest.raises(InputError, match="no note of the score is a piano's key"):
        model.render(score((0, False, [(120, 0, 1, 90)])), progress=False)
    with pytest.raises(InputError, match="steps is -1"): model.render(FULL, steps=-1, progress=False)


def test_a_context_beside_a_score(model):
    "Edits take a band's score, of one channel and of two."
    song = 0.1 * torch.randn(2, 44_100 * 2)
    made = model.inpaint(song, [(0.5, 1.0)], score=FULL, progress=False)
    assert torch.equal(made[:, :19_000], song[:, :19_000]) and made.isfinite().all()
    assert next(model.stream(score=FULL, steps=1, window=2)).isfinite().all()


@pytest.mark.parametrize("seed", range(6))
def test_arrangements(seed):
    song = Composed(seed + 1, 12.0)[seed + 1]
    for change in (arrange, study):
        a, b = change(song, seed), change(song, seed)
        assert np.array_equal(band_notes(a), band_notes(b))
        assert a.get_end_time() <= song.score.get_end_time() + 9
        velocities = band_notes(a)[:, 3]
        assert velocities.min() >= 1 and velocities.max() <= 127
    whole = arrange(song, seed, whole=True)
    assert {"BASS", "DRUMS"} <= {track.name for track in whole.instruments}


def test_an_arrangement_without_annotations():
    midi = score((0, False, [(60, 0, 1, 80), (64, 1, 2, 80)]))
    made = arrange(SimpleNamespace(score=midi, beats=None, chords=[]), 1, whole=True)
    assert len(made.instruments) >= 2


def test_corpora_of_bands(tmp_path):
    songs, how = Composed(2, 6.0), dict(n_jobs=1, progress=False)
    corpus = render_corpus(songs, tmp_path / "band", arrange="band", **how)
    assert json.loads((corpus / "corpus.json").read_text())["arrange"] == "band"
    item = Windows(corpus, 64, length=2, guess=Templates.load().guess)[1]
    assert item["guess"].shape == (2, 128, 64) and item["band"].shape == (1, 352, 64)
    with pytest.raises(InputError, match="another corpus"): render_corpus(songs, corpus, **how)
    with pytest.raises(InputError, match="no arrangement 'choir': choose one of band, study"):
        render_corpus(songs, tmp_path / "c", arrange="choir", **how)
    assert set(ARRANGEMENTS) >= {"band", "study"}


def test_levels_of_windows(templates, mel):
    "What is too loud for the mel is turned down, sound and guess alike."
    batch = dict(waveform=torch.ones(2, 2, 1024), guess=torch.full((2, 2, 128, 2), 1e6),
                 band=torch.ones(2, 1, 352, 2), index=torch.arange(2))
    batch["guess"][1] = 1.0
    done = at_level(batch, mel.eval())
    assert done["waveform"][0].max() < 1e-2 and done["waveform"][1].max() == 1
    assert done["roll"][:, :, :128].max() <= 1 and done["roll"].shape == (2, 2, 480, 2)


def test_training_shows_a_band(tmp_path):
    corpus = render_corpus(Composed(3, 6.0), tmp_path / "c", arrange="band", n_jobs=1, progress=False)
    told = BAND_AND_CONTEXT.places["score"].stop
    recipe = UNetRecipe(dict(width=16, levels=2, blocks=1, heads=4, join=True, told=told), steps=2, batch=2,
                        frames=32, objective="x0", condition=BAND_AND_CONTEXT.settings(),
                        shown=dict(score=0.5), gain=10, warmup=1, ema_start=1)
    unet, _, history = train_unet(corpus, recipe, progress=False)
    assert isinstance(unet, Corrector) and history[-1]["loss"] < 1


def test_piano_beside_templates(model):
    "A U-Net of before, which is shown the roll of a piano, plays as it did where there are templates too."
    torch.manual_seed(0)
    unet = UNet(width=16, levels=2, blocks=1, heads=4, d_cond=SCORE_AND_CONTEXT.rows)
    with_them = Msanii(unet, model.vocoder, model.mel, model.settings, templates=model.templates)
    without = Msanii(unet, model.vocoder, model.mel, model.settings)
    a, b = (m.render(FULL, steps=1, progress=False) for m in (with_them, without))
    assert not with_them.plays_band and torch.equal(a, b)
    for how in (dict(steps=0), dict(steps=1, stems=True)):
        with pytest.raises(InputError, match="first guess"): with_them.render(FULL, progress=False, **how)


def test_texture(model):
    "What no score tells is drawn by the seed, where anything sounds; 0 leaves it out."
    play = lambda seed=1, **how: model.render(FULL, seed=seed, steps=0, progress=False, **how)
    assert torch.equal(play(), play()) and not torch.equal(play(texture=0), play())
    sigma = model.templates.flutter(FULL, 600)
    assert sigma.shape == (2, 128, 600) and sigma.isfinite().all() and 0 < sigma.amax() < 1
    assert sigma[..., 400:].amax() == 0  # nothing rings any more
    with pytest.raises(InputError, match="texture is 3"): play(texture=3)
    z = wandering((2, 64, 2000), torch.Generator().manual_seed(0))
    assert abs(z.std() - 1) < 0.02 and abs((z[..., 1:] * z[..., :-1]).mean() - 0.5) < 0.05


def test_the_floor_of_16_bits_is_level(model, templates):
    "Where a score leaves nothing but rounding, the rounding is played, whatever a network makes of it."
    causes, guess = templates.causes(FULL, 200), templates.guess(FULL, 200)
    share, noisy = causes[2], torch.rand(2, 128, 200) + 0.1
    level = templates.on_floor(noisy, guess, causes)
    assert (share > 0.99).any() and (share < 1e-3).any()
    assert torch.allclose(level[share > 0.999], guess[share > 0.999], rtol=0.01)
    assert torch.allclose(level[share < 1e-3], noisy[share < 1e-3], rtol=0.02)
    x = model.mel.scale(noisy).clamp(-1, 1)[None]
    made = model.with_texture(x, band_notes(FULL), 0.0, torch.Generator())
    assert torch.allclose(model.mel.inverse(made)[0], level, rtol=1e-3, atol=1e-6)


def test_texture_is_fitted(templates):
    "Beating of a known strength is found again, and templates of before have none."
    guess = templates.guess(FULL, 200).clamp(min=1e-3).log()
    z = wandering(guess.shape, torch.Generator().manual_seed(0))
    fitted = Templates(len(templates.player), len(templates.fine))
    fitted.load_state_dict(templates.state_dict())
    fitted.fit_unrest([(band_notes(FULL), guess, guess + 0.3 * z)])
    found = fitted.flutter(FULL, 200)[:, :, 5:40].median()
    assert 0.2 < found < 0.35  # the worst 15% are left out
    new = "fine", "fine_curves", "fine_cells", "unrest"
    before = {k: v for k, v in templates.state_dict().items() if k not in new}
    old = Templates(len(templates.player))
    old.load_state_dict(before)
    assert old.flutter(FULL, 50).amax() == 0 and old.guess(FULL, 50).amax() > 0


def test_names_of_instruments():
    assert program_of("Flute") == 73 and program_of(5) == 5 and program_of("nylon") == 24
    assert parse_players({"melody": 40}) == {"MELODY": 40} == parse_players(" Melody = violin,")
    for wrong in ("", "kazoo", "128", -1):
        with pytest.raises(InputError, match="is no instrument"): program_of(wrong)
    with pytest.raises(InputError, match="is no role: write melody="): parse_players("flute")


def test_commands(model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model.save_pretrained("model")
    FULL.write("a.mid"); FULL.write("b.mid")
    assert main(["render", "a.mid", "--stems", "--steps", "0", "--out", "apart", "--weights", "model"]) == 0
    names = {path.stem for path in (tmp_path / "apart").iterdir()}
    assert names == {"piano", "bass", "drums", "mix"}
    sound = {name: load_audio(tmp_path / "apart" / f"{name}.flac") for name in names}
    assert (sum(sound[n] for n in names - {"mix"}) - sound["mix"]).abs().max() < 3 / 32_767
    how = ["--stems", "--steps", "0", "--out", "x", "--weights", "model"]
    assert main(["render", "a.mid", "b.mid", *how]) == 0
    assert (tmp_path / "x-a" / "mix.flac").exists() and (tmp_path / "x-b" / "mix.flac").exists()
    (tmp_path / "bad.mid").write_bytes(b"MThd")
    capsys.readouterr()
    assert main(["render", "bad.mid", "a.mid", "--json", *how]) == 2  # one that fails stops no other
    out, err = capsys.readouterr()
    assert "bad.mid" in err and "x-a/mix.flac" in out and json.loads(out)["steps"] == 0
    assert main(["render", "a.mid", "--json", "--out", "x.wav", "--weights", "model"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 2  # what it really took
    how = ["corpus", "--data", "composed", "--seconds", "3"]
    assert main([*how, "--songs", "1-2", "--arrange", "study"]) == 0
    assert main(["corpus", "--data", "composed", "--songs", "1", "--arrange", "choir", "--out", "d"]) != 0
    assert "no arrangement 'choir'" in capsys.readouterr().err
