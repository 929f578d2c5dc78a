"""Hearing notes: pictures and notes, wear, and training."""
import numpy as np
import pytest
import torch

from msanii.audio import InputError
from msanii.hearing import WEAR, HearingRecipe, in_other_keys, train_transcriber, transposed, worn
from msanii.pipeline import pretrained_vocoder
from msanii.score import band_roll
from msanii.transcriber import KEYS, LOWEST, PLACES, ROWS, Transcriber, find_notes, targets

FRAME = 1024 / 44_100


def picture(notes, frames):
    "What a transcriber would say that knows all: notes (on, off, pitch, velocity) in frames."
    p = np.zeros((ROWS, frames), np.float32)
    for on, off, pitch, velocity in notes:
        key = pitch - LOWEST
        p[PLACES["struck"]][key, on] = 0.99
        p[PLACES["sounding"]][key, on:off] = 0.99
        p[PLACES["loudness"]][key, on] = velocity / 127
    return p


@pytest.mark.parametrize("seed", range(5))
def test_notes_of_a_picture(seed):
    "Whatever is painted comes back: repeated keys, long notes, keys at both ends."
    rng, notes = np.random.default_rng(seed), []
    for pitch in rng.choice(np.arange(LOWEST, LOWEST + KEYS), 20, replace=False):
        edges = np.sort(rng.choice(np.arange(0, 200, 3), 6, replace=False))
        notes += [(a, b, pitch, int(rng.integers(1, 128))) for a, b in zip(edges[::2], edges[1::2])]
    table = find_notes(picture(notes, 200), seconds=1)
    wanted = sorted((a, b, p, v) for a, b, p, v in notes)
    assert sorted(map(tuple, table[:, :4].astype(int).tolist())) == wanted
    assert (np.diff(table[:, 0]) >= 0).all() and not table[:, 4].any()


def test_targets_are_the_roll():
    "What is to be said of a roll, said, gives the notes of the roll."
    table = np.array([[0.5, 1.0, 60, 90, 0, 0, 0], [0.5, 2.0, 21, 40, 2, 0, 0],
                      [1.5, 1.6, 42, 80, 4, 128, 0]])
    said = targets(band_roll(table, 100)[None])[0]
    assert said.shape == (ROWS, 100)
    found = find_notes(said.numpy())
    drum = found[:, 4] == 1
    assert sorted(found[~drum][:, 2]) == [21, 60] and found[drum][:, 2].tolist() == [42]
    assert np.abs(found[:, 0] - [0.5, 0.5, 1.5]).max() < FRAME


def test_wear():
    mel = torch.rand(3, 128, 60, generator=torch.Generator().manual_seed(0))
    for change, _ in WEAR:
        a, b = (change(mel[0], torch.Generator().manual_seed(5)) for _ in range(2))
        assert a.shape == mel[0].shape and (a >= 0).all() and a.isfinite().all() and torch.equal(a, b)
        assert not torch.equal(a, change(mel[0], torch.Generator().manual_seed(6)))
        silent = change(torch.zeros(128, 60), torch.Generator().manual_seed(5))
        assert silent.isfinite().all()
    index = torch.tensor([4, 9, 2])
    assert torch.equal(worn(mel, index, 1)[1:2], worn(mel[1:2], index[1:2], 1))


def test_training_goes_on(tmp_path):
    "A run that was cut off gives the same bits as one that was not."
    from msanii.corpus import render_corpus
    from msanii.pop909 import Composed
    try: render_corpus(Composed(), tmp_path / "c", [1, 2], seconds=3, n_jobs=1, progress=False)
    except InputError as error: pytest.skip(str(error))
    how = dict(network=dict(width=16, blocks=1, kernel=3), batch=2, frames=64, save_every=2, ema_start=1)
    mel = pretrained_vocoder()[1]
    whole = train_transcriber(tmp_path / "c", HearingRecipe(steps=4, **how), mel, progress=False)[0]

    class Cut(Exception): pass
    def cut(step, _):
        if step == 3: raise Cut
    with pytest.raises(Cut):
        train_transcriber(tmp_path / "c", HearingRecipe(steps=4, **how), mel, folder=tmp_path / "r",
                          callback=cut, progress=False)
    again = train_transcriber(tmp_path / "c", HearingRecipe(steps=4, **how), mel, folder=tmp_path / "r",
                              progress=False)[0]
    for a, b in zip(whole.state_dict().values(), again.state_dict().values()): assert torch.equal(a, b)


def test_training_begins_with_a_smaller_network(tmp_path):
    "A network with more blocks and longer kernels says what the smaller one says; the way back is refused."
    from msanii.corpus import render_corpus
    from msanii.pop909 import Composed
    try: render_corpus(Composed(), tmp_path / "c", [1], seconds=3, n_jobs=1, progress=False)
    except InputError as error: pytest.skip(str(error))
    torch.manual_seed(5)
    small, mel = Transcriber(width=16, blocks=1, kernel=3), pretrained_vocoder()[1]
    def trained(init, **network):
        recipe = HearingRecipe(dict(width=16, **network), steps=1, lr=1e-12, batch=2, frames=64, ema_start=1)
        return train_transcriber(tmp_path / "c", recipe, mel, init=init, progress=False)[0]
    large, x = trained(small.state_dict(), blocks=2, kernel=7), torch.randn(1, 1, 128, 40)
    assert torch.allclose(large(x), small(x), atol=1e-4)
    with pytest.raises(InputError, match="init"): trained(large.state_dict(), blocks=1, kernel=3)


def test_a_song_in_another_key():
    "Keys move by as many rows and are lost beyond the piano, drums stay; the window's number draws how far."
    mel, wanted = torch.rand(128, 30) + 0.1, torch.zeros(ROWS, 30)
    for name in ("struck", "sounding", "loudness"): wanted[PLACES[name].start + 40, 5] = 0.7
    wanted[PLACES["struck"].start + 86, 9] = wanted[PLACES["drums"].start, 3] = 1
    up, keys = transposed(mel, wanted, 3)
    for name in ("struck", "sounding", "loudness"):
        assert keys[PLACES[name]].nonzero().tolist() == [[43, 5]]
    assert keys[PLACES["drums"]].nonzero().tolist() == [[0, 3]] and not torch.allclose(up, mel, atol=1e-3)
    same, still = transposed(mel, wanted, 0)
    assert torch.allclose(same, mel, atol=1e-5) and torch.equal(still, wanted)
    tone = torch.zeros(128, 4)
    tone[40] = 1
    peak = lambda k: transposed(tone, wanted[:, :4], k)[0][:, 0].argmax()
    assert peak(4) > 40 > peak(-4)
    batch, index = (torch.stack([x] * 8) for x in (mel, wanted)), torch.arange(8)
    mels, many = in_other_keys(*batch, index)
    assert len({int(y[PLACES["struck"]][:, 5].argmax()) for y in many}) > 2
    again = in_other_keys(mel[None], wanted[None], torch.tensor([5]))
    assert torch.equal(again[0][0], mels[5]) and torch.equal(again[1][0], many[5])
