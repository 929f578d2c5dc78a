"""Report on a model, with the measures of msanii.evaluation, at fixed seeds.

    POP909=<folder or zip> python benchmarks/report.py [--model FOLDER] [--songs 800-859] [--seconds 20] [--steps N] [--kinds sample ...] [--out report]

Prints a table (markdown) for the README and the model card, with the date and the commit. The songs are those of POP909 if the variable POP909 names
it, and composed ones otherwise; from each, `--seconds` from `--start` on are rendered. Sounds, per-file results and the pages of
`evaluate_folders` are kept under --out, and a second call takes up what is there.
"""
import argparse
import hashlib
import math
import subprocess
import time
from pathlib import Path

import torch

from msanii import Msanii
from msanii.audio import SAMPLE_RATE, InputError, load_audio, save_audio
from msanii.evaluation import _spread, annotation_agreement, bootstrap, edit_continuity, evaluate_folders, score_agreement
from msanii.phase import griffin_lim
from msanii.pop909 import excerpt, open_songs
from msanii.score import render_score


def numbers(text):
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def real(songs, number, start, seconds):
    "Score and sound of an excerpt."
    score, n = excerpt(songs[number].score, start, seconds), round(seconds * SAMPLE_RATE)
    played = render_score(score)[:, :n]
    waveform = torch.nn.functional.pad(played, (0, n - played.shape[1]))
    return score, waveform / waveform.abs().max().clamp(min=1)


def keep(path, make):
    "The sound in a file, made if it is not there."
    if not path.exists(): save_audio(path, make().cpu().clamp(-1, 1))
    return load_audio(path)


def plain_inverse(m, x):
    "To mel and back without any network: the baseline of the vocoder."
    return griffin_lim(m.mel.to_magnitude(m.mel(x[None].to(m.device))), m.settings.iterations, length=x.shape[1])[0]


def scrambled(x, seed):
    "The same sound, its half seconds in a random order: the same notes without their music."
    pieces = x.split(SAMPLE_RATE // 2, dim=1)
    return torch.cat([pieces[i] for i in torch.randperm(len(pieces), generator=torch.Generator().manual_seed(seed))], dim=1)


def makers(m, seconds, steps):
    "{kind of sound: function of (number, score, real)}; of the tasks, those that this model and this version of the package have."
    span = [(seconds / 3, 2 * seconds / 3)]
    found = {"reconstruct": lambda i, score, x: m.reconstruct(x, seed=i), "griffin-lim": lambda i, score, x: plain_inverse(m, x),
             "noise": lambda i, score, x: torch.randn(x.shape, generator=torch.Generator().manual_seed(i)) * x.square().mean().sqrt(),
             "scrambled": lambda i, score, x: scrambled(x, i),
             "sample": lambda i, score, x: m.sample(seconds, seed=i, steps=steps, progress=False)[0]}
    if getattr(m, "conditional", False) and hasattr(m, "render"): found["render"] = lambda i, score, x: m.render(score, seed=i, steps=steps, progress=False)
    if hasattr(m, "style_transfer"): found["style transfer"] = lambda i, score, x: m.style_transfer(x, strength=0.5, seed=i, steps=steps, progress=False)
    if hasattr(m, "inpaint") and seconds >= 9: found["inpaint"] = lambda i, score, x: m.inpaint(x, spans=span, seed=i, steps=steps, progress=False)
    return found, span


def fit(x, n):
    "(2, n) of (2, m) or (1, 2, m)."
    x = x.reshape(-1, x.shape[-1])[:2, :n]
    return torch.nn.functional.pad(x, (0, n - x.shape[1]))


def average(rows):
    values = {k: [r[k] for r in rows if math.isfinite(r[k])] for k in (rows[0] if rows else {})}  # a seam in silence has no pulse to keep
    return {k: _spread(bootstrap(v)) for k, v in values.items() if v}


def table(title, columns):
    "Markdown of {column: {row: cell}}."
    rows = list(dict.fromkeys(k for c in columns.values() for k in c))
    print(f"\n**{title}**\n\n| | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    for r in rows: print(f"| {r} | {' | '.join(c.get(r, '') for c in columns.values())} |")


def main(args):
    songs, wanted = open_songs(), numbers(args.songs)
    wanted = [n for n in wanted if n in songs]
    if len(wanted) < 3: raise InputError(f"--songs {args.songs}: fewer than 3 of them are in {songs.name}; give a range such as 800-859")
    m = Msanii.from_pretrained(args.model)
    kinds, span = makers(m, args.seconds, args.steps)
    if unknown := set(args.kinds or kinds) - set(kinds): raise InputError(f"--kinds: there is no {', '.join(sorted(unknown))}; this model has {', '.join(kinds)}")
    kinds = {kind: make for kind, make in kinds.items() if kind in (args.kinds or kinds)}
    state = [v.detach().cpu().numpy().tobytes() for part in (m.unet, m.vocoder, m.mel) for v in part.state_dict().values()]
    model_hash = hashlib.sha256(b"".join(state)).hexdigest()[:12]
    top = Path(args.out) / f"{model_hash}-{args.seconds:g}s-from-{args.start:g}s-{args.steps or m.settings.steps}"
    truth, agreement, seams = {"real": []}, {}, {}
    for number in wanted:
        try: score, x = real(songs, number, args.start, args.seconds)
        except InputError as error: print(f"song {number} is left out: {error}"); continue
        x = keep(top / "real" / f"{number:03d}.flac", lambda: x)
        truth["real"].append(annotation_agreement(x, songs[number], args.start))
        for kind, make in {"real": None, **kinds}.items():
            name = f"seed-{number:03d}" if kind == "sample" else f"{number:03d}"  # a sample belongs to no song
            y = x if make is None else keep(top / kind / f"{name}.flac", lambda: fit(make(number, score, x), x.shape[1]))
            if kind in ("real", "reconstruct", "griffin-lim", "noise", "render"):
                try: agreement.setdefault(kind, []).append(score_agreement(y, score, x))
                except InputError as error: print(f"{kind} of song {number} is left out: {error}")
            if kind in ("real", "inpaint") and args.seconds >= 9: seams.setdefault(kind, []).append(edit_continuity(y, span))
    reports = {kind: evaluate_folders(top / kind, top / "real", Path(args.out) / f"page-{kind}", args.jobs, cache=Path(args.out) / "cache", progress=False) for kind in kinds}
    halves = evaluate_halves(top, wanted, args)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent).stdout.strip()
    print(f"{time.strftime('%Y-%m-%d')}, commit {commit}, weights {model_hash}, {songs.name}, songs {wanted[0]} to {wanted[-1]} ({len(wanted)}), {args.seconds:g} s from {args.start:g} s each, "
          f"{args.steps or m.settings.steps} steps of {m.settings.sampler}, seeds = song numbers. Means over songs with 95% bootstrap intervals.")
    same = {k: r for k, r in reports.items() if r["reconstruction"] and k in ("reconstruct", "griffin-lim", "noise")}
    table("Reconstruction (0 is perfect)", {k: {n: _spread(v) for n, v in r["reconstruction"].items()} for k, r in same.items()})
    distances = {"real, odd against even": halves, **{k: r["distribution"] for k, r in reports.items()}}
    table("Distance from the real set (value [95%], floor; a star: told apart)", {k: {f"{f}, {d}": f"{_spread([v['value'], v['low'], v['high']])}, {v['floor']:.3g}{'*' if v['apart'] else ''}"
          for f, both in found.items() for d, v in both.items()} for k, found in distances.items()})
    first = next(iter(reports.values()))
    table("Music", {"real": {n: _spread(v) for n, v in first["music"]["b"].items()}, **{k: {n: _spread(v) for n, v in r["music"]["a"].items()} for k, r in reports.items()}})
    table("Agreement with the score (1 is perfect)", {k: average(v) for k, v in agreement.items()})
    table("The measures themselves: agreement of the real sound with the annotations (1 is perfect)", {k: average(v) for k, v in truth.items()})
    if seams: table(f"Seams at {span[0][0]:.1f} and {span[0][1]:.1f} s (the smaller the smoother)", {k: average(v) for k, v in seams.items()})
    skipped = [f"{kind}: {p}" for kind, r in reports.items() for s in r["skipped"].values() for p in s.values()]
    if skipped: print("\nLeft out:\n" + "\n".join(f"- {p}" for p in skipped))


def evaluate_halves(top, wanted, args):
    "The distances between the real songs of odd and of even number: what no difference looks like."
    for number in wanted:
        for parity in ("odd", "even"):
            link = top / f"real-{parity}" / f"{number:03d}.flac"
            if number % 2 == (parity == "odd") and not link.exists() and (top / "real" / link.name).exists():
                save_audio(link, load_audio(top / "real" / link.name))
    if len(wanted) < 6: return {}
    return evaluate_folders(top / "real-odd", top / "real-even", Path(args.out) / "page-real", args.jobs, cache=Path(args.out) / "cache", progress=False)["distribution"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None, help="folder or Hugging Face Hub id; the weights in the package otherwise")
    parser.add_argument("--songs", default="800-859", help="first-last")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--start", type=float, default=30.0, help="s into each song")
    parser.add_argument("--steps", type=int, default=None, help="network passes; the model's own number otherwise")
    parser.add_argument("--kinds", nargs="*", default=None, help="sample, render and so on: these alone")
    parser.add_argument("--jobs", type=int, default=-1)
    parser.add_argument("--out", default="outputs/report")
    main(parser.parse_args())
