"""A fingerprint of what every task makes, so that a change of the code that should change no sound can be checked.

python benchmarks/fingerprints.py > before.json          before a change
python benchmarks/fingerprints.py --against before.json  after it: names what differs, and by how many decibels

One thread, the package's weights, small inputs composed here; about two minutes. The bits hold for one machine."""
import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from msanii import Msanii
from msanii.audio import load_audio
from msanii.score import compose, render_score

RECIPE = dict(steps=3, batch=2, frames=64, warmup=1, ema_start=1, ema_every=1, validate_every=3, save_every=3)
UNET = dict(RECIPE, network=dict(width=32, levels=3, blocks=1, heads=4, d_cond=658, join=True), objective="x0",
            score=0.75, context=0.4)


def made(m, score, song, other):
    "(name, waveform) of each task."
    how = dict(steps=3, seed=5, progress=False)
    yield "sample", m.sample(3, batch=2, **how)
    yield "sample, ddpm", m.sample(3, sampler="ddpm", **how)
    yield "sample, dpm", m.sample(3, sampler="dpm", **how)
    yield "sample, longer than a window", m.sample(15, **how)
    yield "sample, small windows", m.sample(6, window=2, **how)
    yield "render", m.render(score, **how)
    yield "render, guidance 2", m.render(score, guidance=2.0, **how)
    yield "render, small windows", m.render(score, window=2, **how)
    yield "reconstruct", m.reconstruct(song, seed=5)
    yield "style transfer", m.style_transfer(song, **how)
    yield "style transfer, strength 0", m.style_transfer(song, 0.0, **how)
    yield "style transfer, ddpm, small windows", m.style_transfer(song, 0.8, sampler="ddpm", window=2, **how)
    yield "style transfer, batch", m.style_transfer(torch.stack([song[:, :88200], other[:, :88200]]), **how)
    yield "interpolate", m.interpolate(song, other, **how)
    yield "interpolate, spherical", m.interpolate(song, other, 0.3, mix="spherical", sampler="ddpm", **how)
    yield "inpaint", m.inpaint(song, [(2, 4)], **how)
    yield "inpaint, two spans, score", m.inpaint(song, [(1, 2), (4, 4.5)], score=score, guidance=1.5, **how)
    yield "inpaint, repaint", m.inpaint(song, [(2, 3)], method="repaint", **{**how, "steps": 12})
    yield "inpaint, repaint, ddpm", m.inpaint(song, [(2, 3)], method="repaint", sampler="ddpm", **{**how, "steps": 12})
    yield "outpaint", m.outpaint(song, 4, **how)
    yield "outpaint, both sides", m.outpaint(song, 3, side="both", window=4, **how)
    yield "outpaint, repaint", m.outpaint(song, 2, method="repaint", **{**how, "steps": 12})
    yield "stream", torch.cat(list(islice(m.stream(9, steps=3, seed=5, window=4, context=1.5), 9)), 1)


def command(*words):
    subprocess.run([sys.executable, "-m", "msanii.app", *map(str, words)], check=True, capture_output=True)


def learned(folder):
    "(name, numbers) of a corpus and of trainings of three steps."
    command("corpus", "--data", "composed", "--songs", "1-3,781", "--seconds", 6, "--jobs", 1, "--out", folder / "corpus")
    yield "corpus", torch.from_numpy(np.load(folder / "corpus" / "001.npy").astype(np.float32))
    recipes = {"unet": UNet_(folder), "vocoder": dict(RECIPE, network=dict(kind="prior", width=32), gain=10, w_sc=2)}
    for name, recipe in recipes.items():
        (folder / f"{name}.json").write_text(json.dumps(recipe))
        command("train", name, "--corpus", folder / "corpus", "--config", folder / f"{name}.json", "--out", folder / name)
        history = json.loads((folder / name / f"{name}.history.json").read_text())["history"]
        yield f"train {name}", torch.tensor([row[key] for row in history for key in ("loss", "valid") if key in row])


def UNet_(folder): return UNET


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", help="what this script has printed before")
    parser.add_argument("--keep", help="folder for the waveforms, and where those of before lie")
    args = parser.parse_args()
    torch.set_num_threads(1)
    m, score = Msanii.from_pretrained(device="cpu"), compose(1, seconds=6)
    song, other = render_score(score, tail=0)[:, : 6 * 44100], render_score(compose(2, seconds=7), tail=0)[:, : 7 * 44100]
    prints = {}
    with tempfile.TemporaryDirectory() as top:
        for results in (made(m, score, song, other), learned(Path(top))):
            for name, x in results:
                prints[name] = hashlib.sha256(x.contiguous().numpy().tobytes()).hexdigest()
                if args.keep:
                    path = Path(args.keep) / f"{name.replace(' ', '-').replace(',', '')}.npy"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    before = np.load(path) if args.against and path.exists() else None
                    if before is not None and prints[name] != json.loads(Path(args.against).read_text()).get(name):
                        same = before.shape == tuple(x.shape)
                        ratio = 10 * np.log10(np.square(before).sum() / np.square(before - x.numpy()).sum()) if same else None
                        print(f"{name}: the difference lies {ratio} dB below the signal", file=sys.stderr)
                    if before is None: np.save(path, x.numpy())
    print(json.dumps(prints, indent=1))
    if args.against:
        before = json.loads(Path(args.against).read_text())
        changed = [name for name in before if prints.get(name) != before[name]]
        print(f"{len(before) - len(changed)} of {len(before)} are equal; changed: {', '.join(changed) or 'none'}", file=sys.stderr)
        return bool(changed)


if __name__ == "__main__": sys.exit(main())
