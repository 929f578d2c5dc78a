"""A fingerprint of what every task makes, so that one can check that a change of the code changes no sound.

    python benchmarks/fingerprints.py > before.json             before a change
    python benchmarks/fingerprints.py --against before.json     after it: names what differs
    ... --keep FOLDER                                           both times: by how many decibels, too

One thread, the package's weights, small inputs composed here; about two minutes. The bits hold for one
machine and one version of torch, which the error stream names."""
import hashlib
import json
import subprocess
import sys
import tempfile
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch

from msanii import Msanii
from msanii.score import song_by_rules, render_score

from about import about, arguments

RECIPE = dict(steps=3, batch=2, frames=64, warmup=1, ema_start=1, ema_every=1, validate_every=3, save_every=3)
RECIPES = dict(
    unet=dict(RECIPE, network=dict(width=32, levels=3, blocks=1, heads=4, d_cond=658, join=True),
              objective="x0", score=0.75, context=0.4),
    vocoder=dict(RECIPE, network=dict(kind="prior", width=32), gain=10, w_sc=2))


def sounds(m, score):
    "(name, waveform) of each task that starts from noise."
    how = dict(steps=3, seed=5, progress=False)
    yield "sample", m.sample(3, batch=2, via="noise", **how)
    yield "sample, ddpm", m.sample(3, sampler="ddpm", via="noise", **how)
    yield "sample, dpm", m.sample(3, sampler="dpm", via="noise", **how)
    yield "sample, longer than a window", m.sample(15, via="noise", **how)
    yield "sample, small windows", m.sample(6, window=2, via="noise", **how)
    yield "render", m.render(score, **how)
    yield "render, guidance 2", m.render(score, guidance=2.0, **how)
    yield "render, small windows", m.render(score, window=2, **how)
    yield "stream", torch.cat(list(islice(m.stream(9, steps=3, seed=5, window=4, context=1.5), 9)), 1)


def edits(m, score, song, other):
    "(name, waveform) of each task that starts from a waveform (2, n)."
    how = dict(steps=3, seed=5, progress=False)
    repaint = dict(how, method="repaint", steps=12)
    yield "reconstruct", m.reconstruct(song, seed=5)
    yield "style transfer", m.style_transfer(song, **how)
    yield "style transfer, strength 0", m.style_transfer(song, 0.0, **how)
    yield "style transfer, ddpm, small windows", m.style_transfer(song, 0.8, sampler="ddpm", window=2, **how)
    yield "style transfer, batch", m.style_transfer(torch.stack([song[:, :88200], other[:, :88200]]), **how)
    yield "interpolate", m.interpolate(song, other, **how)
    yield "interpolate, spherical", m.interpolate(song, other, 0.3, mix="spherical", sampler="ddpm", **how)
    yield "inpaint", m.inpaint(song, [(2, 4)], **how)
    yield "inpaint, two spans, score", m.inpaint(song, [(1, 2), (4, 4.5)], score=score, guidance=1.5, **how)
    yield "inpaint, repaint", m.inpaint(song, [(2, 3)], **repaint)
    yield "inpaint, repaint, ddpm", m.inpaint(song, [(2, 3)], sampler="ddpm", **repaint)
    yield "outpaint", m.outpaint(song, 4, **how)
    yield "outpaint, both sides", m.outpaint(song, 3, side="both", window=4, **how)
    yield "outpaint, repaint", m.outpaint(song, 2, **repaint)


def command(*words):
    subprocess.run([sys.executable, "-m", "msanii.app", *map(str, words)], check=True, capture_output=True)


def learned(folder):
    "(name, numbers) of a corpus and of trainings of three steps, in a folder."
    corpus, songs = folder / "corpus", ("--data", "composed", "--songs", "1-3,781")
    command("corpus", *songs, "--seconds", 6, "--jobs", 1, "--out", corpus)
    yield "corpus", torch.from_numpy(np.load(corpus / "001.npy").astype(np.float32))
    for name, recipe in RECIPES.items():
        config, out = folder / f"{name}.json", folder / name
        config.write_text(json.dumps(recipe))
        command("train", name, "--corpus", corpus, "--config", config, "--out", out)
        history = json.loads((out / f"{name}.history.json").read_text())["history"]
        losses = [row[key] for row in history for key in ("loss", "valid") if key in row]
        yield f"train {name}", torch.tensor(losses)


def keep(folder, name, x, before, changed):
    """Save numbers in a folder if `before` is None; otherwise say how far those that have changed are from
    what lies there."""
    path = Path(folder) / f"{name.replace(' ', '-').replace(',', '')}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    if before is None or not path.exists(): return np.save(path, x.numpy())
    if not changed: return
    old, ratio = np.load(path), None
    if old.shape == tuple(x.shape):
        ratio = 10 * np.log10(np.square(old).sum() / np.square(old - x.numpy()).sum())
    print(f"{name}: the difference lies {ratio} dB below the signal", file=sys.stderr)


def everything():
    "(name, numbers) of all tasks."
    m, score = Msanii.from_pretrained(device="cpu"), song_by_rules(1, seconds=6)
    song = render_score(score, tail=0)[:, : 6 * 44100]
    other = render_score(song_by_rules(2, seconds=7), tail=0)[:, : 7 * 44100]
    with tempfile.TemporaryDirectory() as top:
        yield from chain(sounds(m, score), edits(m, score, song, other), learned(Path(top)))


def main():
    parser = arguments(__doc__)
    parser.add_argument("--against", help="what this script has printed before")
    parser.add_argument("--keep", help="folder for the waveforms, and where those of before lie")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(about(), file=sys.stderr)
    before, prints = json.loads(Path(args.against).read_text()) if args.against else None, {}
    for name, x in everything():
        prints[name] = hashlib.sha256(x.contiguous().numpy().tobytes()).hexdigest()
        changed = before is not None and prints[name] != before.get(name)
        if args.keep: keep(args.keep, name, x, before, changed)
    print(json.dumps(prints, indent=1))
    if before is None: return
    changed = [name for name in before if prints.get(name) != before[name]]
    equal = f"{len(before) - len(changed)} of {len(before)} are equal"
    print(f"{equal}; changed: {', '.join(changed) or 'none'}", file=sys.stderr)
    return bool(changed)


if __name__ == "__main__": sys.exit(main())
