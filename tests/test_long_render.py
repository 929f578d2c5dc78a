"""Scores that last for hours: sections and windows that follow one another, files that are written part by
part, and a memory that does not grow with the length."""
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import msanii.long
import msanii.render
from msanii import Msanii
from msanii.audio import InputError, load_audio, save_audio, save_parts
from msanii.long import decode_long, decode_parts
from msanii.render import sections
from msanii.score import song_by_rules
from msanii.walk import Walk

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.usefixtures("one_thread")


def in_sections(monkeypatch, frames):
    "Let whatever is longer than a section be walked in sections of so many frames."
    for name in ("WHOLE", "SECTION"): monkeypatch.setattr(msanii.render, name, frames)


@pytest.mark.parametrize("n, cut", [(40_000, 7), (131_072, 50), (200_001, 1), (200_001, 300), (400_000, 64)])
def test_decoding_by_parts_is_decoding(model, n, cut):
    "To the bit, wherever the mel is cut, and with a remainder of less than a hop."
    x = 2 * torch.rand(1, 2, 128, model.mel.frames(n), generator=torch.Generator().manual_seed(0)) - 1
    parts = list(decode_parts(model, x.split(cut, -1), n, 3, frames=96))
    assert torch.equal(torch.cat(parts, -1), decode_long(model, x, n, 3, frames=96))
    assert len(parts) == 1 or max(part.shape[-1] for part in parts) <= 96 * 1024


def test_what_is_a_little_too_long_is_not_decoded_twice(model, monkeypatch):
    "From AT_ONCE on in windows of IN_TURN: each frame about once, by parts as in one go."
    for name, frames in (("AT_ONCE", 400), ("IN_TURN", 96)): monkeypatch.setattr(msanii.long, name, frames)
    heard, magnitude = [], type(model).magnitude
    def counted(self, x): heard.append(x.shape[-1]); return magnitude(self, x)
    monkeypatch.setattr(type(model), "magnitude", counted)
    n = 410 * 1024
    x = 2 * torch.rand(1, 2, 128, model.mel.frames(n), generator=torch.Generator().manual_seed(0)) - 1
    whole = decode_long(model, x, n, 3)
    assert max(heard) == 96 and sum(heard) < 4 * x.shape[-1]  # windows share 48 frames, and the last one more
    assert torch.equal(torch.cat(list(decode_parts(model, x.split(50, -1), n, 3)), -1), whole)


@pytest.mark.parametrize("frames, overlap, most", [
    (1, 0, 5), (100, 10, 100), (101, 10, 100), (5000, 128, 700), (5001, 4, 9)])
def test_sections_cover_all_and_share_their_ends(frames, overlap, most):
    found = sections(frames, overlap, most)
    assert (found[0].start, found[-1].stop) == (0, frames)
    assert all(0 < s.stop - s.start <= most for s in found)
    assert all(a.stop - b.start == overlap for a, b in zip(found, found[1:]))


@pytest.fixture(scope="module")
def shipped(): return Msanii.from_pretrained(device="cpu")


def mels(m, score, seed=1, steps=2, texture=0.0):
    "The mels of a rendering, and the factor by which it was turned down."
    walk, frames = Walk(m, max(steps, 1), progress=False), 900
    made = m._mels(m.playable(score), frames, torch.Generator().manual_seed(seed), walk, texture, steps == 0)
    return next(made), list(made)


@torch.no_grad()
def test_sections_of_the_first_guess_are_the_whole(shipped, monkeypatch):
    whole = mels(shipped, song_by_rules(2, seconds=18), steps=0)
    in_sections(monkeypatch, 300)
    level, parts = mels(shipped, song_by_rules(2, seconds=18), steps=0)
    assert level == whole[0] and len(parts) > 3 and len(whole[1]) == 1
    torch.testing.assert_close(torch.cat(parts, -1), whole[1][0], rtol=0, atol=1e-5)


@torch.no_grad()
def test_sections_of_a_walk_meet(shipped, monkeypatch):
    "The whole and its sections are nearer to each other than half of what lies between guess and network."
    score = song_by_rules(2, seconds=18)
    _, (whole,) = mels(shipped, score)
    _, (guess,) = mels(shipped, score, steps=0)
    in_sections(monkeypatch, 600)
    _, parts = mels(shipped, score)
    found, away = torch.cat(parts, -1), (guess - whole).abs().mean()
    assert len(parts) == 2 and found.shape == whole.shape and (found - whole).abs().mean() < away / 2
    jump = lambda x: x.diff(dim=-1).abs().mean((0, 1, 2))[parts[0].shape[-1] - 1].item()
    assert jump(found) < 1.5 * jump(whole) + 0.01


def test_a_long_score_in_sections(model, monkeypatch):
    "Its length is exact, a seed gives its bits, and texture is drawn in each section."
    in_sections(monkeypatch, 128)
    score = song_by_rules(1, seconds=9)
    a, b = (model.render(score, seed=3, window=1, progress=False) for _ in range(2))
    assert a.shape == (2, round((score.get_end_time() + 1) * 44_100)) and torch.equal(a, b)
    assert a.isfinite().all() and not torch.equal(a, model.render(score, seed=4, window=1, progress=False))


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg"])
@pytest.mark.parametrize("section", [128, 10**6])
def test_a_file_is_the_rendering(model, tmp_path, monkeypatch, kind, section):
    in_sections(monkeypatch, section)
    how = dict(seed=2, tail=0.5, window=1, progress=False)
    waveform = model.render(song_by_rules(1, seconds=5), **how)
    save_audio(tmp_path / f"a.{kind}", waveform)
    seconds = model.render_file(song_by_rules(1, seconds=5), tmp_path / "new" / f"b.{kind}", **how)
    assert seconds == waveform.shape[-1] / 44_100
    assert torch.equal(load_audio(tmp_path / f"a.{kind}"), load_audio(tmp_path / "new" / f"b.{kind}"))


@pytest.mark.parametrize("steps", [0, 1])
def test_a_loop_is_one_whole_however_long(shipped, tmp_path, monkeypatch, steps):
    how = dict(seed=2, steps=steps, window=1, loop=True, progress=False)
    score = song_by_rules(1, seconds=5)
    waveform = shipped.render(score, **how)
    in_sections(monkeypatch, 128)
    assert torch.equal(shipped.render(score, **how), waveform)
    assert shipped.render_file(score, tmp_path / "a.wav", **how) == waveform.shape[-1] / 44_100
    save_audio(tmp_path / "b.wav", waveform)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_parts_that_are_too_loud_are_turned_down_alike(tmp_path):
    parts = [torch.full((2, 50_000), 0.5), torch.full((2, 3), -2.0), torch.full((2, 50_000), 0.5)]
    assert save_parts(tmp_path / "a.wav", parts) == 100_003
    found = load_audio(tmp_path / "a.wav")
    assert found[:, :50_000].eq(0.25).all() and found.min() == -1


@pytest.mark.parametrize("wrong, message", [("a.xyz", "name that ends in"), ("folder.wav", "is a folder")])
def test_files_that_cannot_be(model, tmp_path, wrong, message):
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(InputError, match=message):
        model.render_file(song_by_rules(1, seconds=1), tmp_path / wrong, progress=False)


def test_a_rendering_that_fails_keeps_the_old_file(tmp_path):
    save_audio(tmp_path / "a.wav", torch.zeros(2, 9))
    before = (tmp_path / "a.wav").read_bytes()
    def parts():
        yield torch.zeros(2, 9)
        raise InputError("no more")
    with pytest.raises(InputError, match="no more"): save_parts(tmp_path / "a.wav", parts())
    assert (tmp_path / "a.wav").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


PEAK = """
import functools, re, sys, torch
import msanii.render
from msanii import Msanii
from msanii.long import decode_parts
from msanii.score import song_by_rules
torch.set_num_threads(1)
msanii.render.WHOLE = msanii.render.SECTION = 512
msanii.render.decode_parts = functools.partial(decode_parts, frames=512)
m = Msanii.from_pretrained(sys.argv[1], device="cpu")
m.render_file(song_by_rules(1, seconds=float(sys.argv[2])), sys.argv[3], steps=1, window=3, progress=False)
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1e3)
"""


def test_memory_is_flat(model_folder, tmp_path):
    "Of a rendering six times as long, by sections and windows of 12 seconds; 250 s of a waveform have 88 MB."
    if not Path("/proc/self/status").exists(): pytest.skip("needs Linux's /proc")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    def peak(seconds):
        words = [sys.executable, "-c", PEAK, model_folder, str(seconds), tmp_path / "a.wav"]
        return float(subprocess.check_output(words, env=env, text=True).split()[-1])
    assert peak(300) - peak(50) < 44  # the same call varies by 30 MB from run to run
