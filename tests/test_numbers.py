"""Numbers as other libraries hand them over: what is a number is taken, all else is refused in a sentence."""
from fractions import Fraction

import numpy as np
import pytest
import torch

from msanii.audio import InputError, audio_info, load_audio, save_audio, stream_audio
from msanii.corpus import record_corpus, render_corpus
from msanii.pop909 import Composed
from msanii.score import render_score, song_by_rules
from msanii.tasks import TASKS
from msanii.walk import SEED, STEPS, Parameter, seeds

HALVES = [0.5, np.float16(0.5), np.float32(0.5), np.float64(0.5), np.longdouble(0.5), np.array(0.5),
          np.array(0.5, np.float32), torch.tensor(0.5), Fraction(1, 2)]
WHOLES = [2, np.int8(2), np.uint8(2), np.int64(2), np.uint64(2), np.array(2), torch.tensor(2)]
NO_NUMBERS = [None, True, np.bool_(True), np.array(True), torch.tensor(True), "0.5", 1j, [0.5], {}, object(),
              np.array([0.5, 0.5]), torch.tensor([0.5, 0.5]), float("nan"), np.float32("nan"), float("inf")]


PARAMETERS = {p.name: p for task in TASKS.values() for p in task.parameters
              if type(p) is Parameter and not p.choices}


@pytest.mark.parametrize("parameter", PARAMETERS.values(), ids=PARAMETERS)
def test_every_parameter_of_a_task(parameter):
    near = lambda value: not parameter.whole and parameter.low <= 0.5 <= parameter.high
    for half in HALVES:
        if near(half):
            assert parameter.check(half) == 0.5 and type(parameter.check(half)) is float
    for two in WHOLES:
        if parameter.low <= 2 <= parameter.high:
            assert parameter.check(two) == 2
            assert type(parameter.check(two)) is (int if parameter.whole else float)
    for wrong in NO_NUMBERS + HALVES * parameter.whole + [10**400] * (not parameter.whole):
        with pytest.raises(InputError, match=f"{parameter.name} is .*: give "): parameter.check(wrong)


def test_seeds():
    for two in WHOLES: assert seeds(two, two) == [2, 3] and all(type(s) is int for s in seeds(two, 2))
    for many in ([3, 5], (3, np.int64(5)), np.array([3, 5]), torch.tensor([3, 5])):
        assert seeds(many, 2) == [3, 5]
    assert seeds(2**62, 1) == [2**62]
    for wrong in NO_NUMBERS + HALVES + [2**63, 2**64, -2**64, [None], [2**64], [True], [0.5]]:
        with pytest.raises(InputError, match="seed"): seeds(wrong, 1)
    for wrong in NO_NUMBERS + HALVES + [0, -1]:
        with pytest.raises(InputError, match="batch is .*: give a whole number, 1 or more"): seeds(0, wrong)


def test_tasks_take_them_and_refuse_the_rest(model):
    how, song = dict(steps=np.int64(1), progress=False), 0.1 * torch.ones(2, 8000)
    usual = model.style_transfer(song, 0.5, steps=1, window=2, seed=3, progress=False)
    theirs = model.style_transfer(song, np.float32(0.5), window=np.float32(2), seed=np.int64(3), **how)
    assert torch.equal(theirs, usual)
    assert model.sample(np.float32(0.25), seed=np.uint8(1), **how).shape == (1, 2, 11_025)
    assert model.outpaint(song, np.float64(0.25), **how).shape == (2, 8000 + 11_025)
    assert model.render(song_by_rules(0, 0.5), tail=np.float32(0.5), **how).shape == (2, 44_100)
    hole = [np.array([0.05, 0.1])]
    makes = [
        lambda **s: model.sample(0.25, **s, **how),
        lambda **s: model.sample_mel(16, **s, **how),
        lambda **s: model.render(song_by_rules(0, 0.5), **s, **how),
        lambda **s: model.style_transfer(song, **s, **how),
        lambda **s: model.inpaint(song, hole, **s, **how),
        lambda **s: model.outpaint(song, 0.25, **s, **how),
        lambda **s: model.interpolate(song, song, **s, **how),
        lambda **s: next(model.stream(window=2, **s, **how)),
        lambda **s: model.reconstruct(song, **s),
    ]
    for make in makes:
        make(seed=np.int64(4))
        for wrong in (None, 2**64, 0.5, "1", True):
            with pytest.raises(InputError, match="seed is .*: give"): make(seed=wrong)


def test_seeds_of_songs():
    first = lambda seed: str(song_by_rules(seed, 2).instruments[0].notes)
    assert first(np.int64(3)) == first(3)
    for wrong in (None, -1, 0.5, "x"):
        with pytest.raises(InputError, match="seed is"): song_by_rules(wrong, 2)


def test_functions_of_sound_and_scores(tmp_path):
    "What tasks do with their settings, the functions below them do with theirs."
    path, song, score = tmp_path / "a.wav", 0.1 * torch.ones(2, 88_200), song_by_rules(0, 1)
    save_audio(path, song, np.int16(22_050))
    assert audio_info(path).sample_rate == 22_050
    takes = {
        "start": lambda x: load_audio(path, start=x), "seconds": lambda x: load_audio(path, seconds=x),
        "sample_rate": lambda x: load_audio(path, sample_rate=x),
        "channels": lambda x: load_audio(path, channels=x), "seconds ": lambda x: next(stream_audio(path, x)),
        "sample rate": lambda x: save_audio(path, song, x),
        "seconds  ": lambda x: song_by_rules(0, x), "tempo": lambda x: song_by_rules(0, 2, x),
        "gain": lambda x: render_score(score, gain=x), "tail": lambda x: render_score(score, tail=x),
        "sample_rate ": lambda x: render_score(score, x),
        "seconds   ": lambda x: render_corpus(Composed(), tmp_path / "c", [1], seconds=x, progress=False),
        "seconds    ": lambda x: record_corpus(tmp_path, tmp_path / "r", x, progress=False),
    }
    optional = ("tempo", "seconds", "seconds   ")
    for name, take in takes.items():
        for wrong in ("x", 1j, [1], float("nan"), *[None] * (name not in optional)):
            with pytest.raises(InputError, match=f"{name.strip()} is .*: give "): take(wrong)
    for rate in (np.int16(22_050), np.float32(22_050)):
        assert torch.equal(render_score(score, rate), render_score(score, 22_050))
        assert torch.equal(load_audio(path, sample_rate=rate), load_audio(path, sample_rate=22_050))
    render_corpus(Composed(), tmp_path / "d", [1], seconds=np.float32(1), n_jobs=1, progress=False)


def test_choices():
    METER = Parameter("meter", "", choices=(3, 4))
    assert [METER.check(x) for x in (np.int64(3), torch.tensor(4), 3.0)] == [3, 4, 3]
    assert type(METER.check(np.int64(3))) is int
    for wrong in (5, "3", None, True, [3], np.array([3, 4]), {}):
        with pytest.raises(InputError, match="meter is .*: give 3 or 4"): METER.check(wrong)


def test_threads_change_the_last_bits_alone(model):
    "The same seed on another number of threads: not the same bits, but nothing that is heard."
    before, how = torch.get_num_threads(), dict(steps=2, seed=3, progress=False)
    try:
        made = []
        for threads in (1, 1, 2):
            torch.set_num_threads(threads)
            made.append(model.sample(3.0, **how))
    finally: torch.set_num_threads(before)
    assert torch.equal(made[0], made[1])
    error = (made[0] - made[2]).square().mean().clamp(min=1e-30)
    assert 10 * torch.log10(made[0].square().mean() / error) > 60  # dB
    assert "as many threads" in SEED.help
