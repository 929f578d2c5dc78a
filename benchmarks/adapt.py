"""A model of one's own: how near do its results come to recordings that it never met, before and after
training on a few minutes of others?

    POP909=<folder or zip> python benchmarks/adapt.py [--program 46] [--music 20] [--minutes 30] [--rank 16]
                                                      [--hear] [--songs 800-859] [--seconds 10]
                                                      [--strength 0.5 0.7]
                                                      [--steps N] [--config FILE] [--model FOLDER] [--jobs 2]

Songs of POP909 (composed ones without the variable) played by one General MIDI program stand in for a
musician: 46 is a harp, 19 a church organ. Minutes of songs 1 to 300 are the recordings, `--music` of them,
as MP3 files without scores (with --hear the transcriber hears some); excerpts of `--songs` are what is kept
back (780-799 for choices, from 800 on for tables). Training goes on from the weights of the package (or
--model) for `--minutes` of this machine, by an adapter of `--rank`, or with the whole network where that is
0; its first steps say how many steps that is.
Then the model makes sounds as it did before: samples from noise alone, style transfer of the held-out
excerpts as a piano plays them, and the excerpts' scores, written for a piano, played.

Prints their Fréchet distances from what was kept back, before and after, and what training took: minutes,
steps, memory. `kept back, odd against even` is what chance alone makes, `piano` what style transfer began
with. Whatever is done is kept under --out, and a second call with the same settings goes on from there."""
import json
import math
import resource
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch

from msanii import Msanii
from msanii.adapting import adapt, fitted
from msanii.audio import SAMPLE_RATE, InputError, load_audio, replacing, save_audio
from msanii.corpus import random_excerpt, record_corpus
from msanii.pipeline import save_adapter
from msanii.pop909 import excerpt, open_songs
from msanii.report import evaluate_folders
from msanii.score import render_score
from msanii.transcribe import Listener
from msanii.training import RECIPES, UNetRecipe

from about import about, arguments, head, key, row

FAMILIES = ("harmony", "rhythm", "mel", "shape")


def numbers(text):
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def played(score, program, n=None):
    "The sound (2, n) of a score whose pitched instruments all play a program, without a pedal."
    for instrument in score.instruments:
        if instrument.is_drum: continue
        instrument.program = program
        instrument.control_changes = [c for c in instrument.control_changes if c.number != 64]
    x = render_score(score)
    if n: x = torch.nn.functional.pad(x[:, :n], (0, max(0, n - x.shape[1])))
    return x / x.abs().max().clamp(min=1)


def keep(path, make):
    "A sound in a file, made if it is not there."
    if not path.exists(): save_audio(path, make().cpu().clamp(-1, 1))
    return path


def write_score(path, score):
    "A score whose pitched instruments are all the piano, as MIDI."
    if path.exists(): return
    path.parent.mkdir(exist_ok=True)
    score.instruments = [i for i in score.instruments if not i.is_drum]
    for instrument in score.instruments: instrument.program = 0
    with replacing(path) as temporary: score.write(str(temporary))


def recordings(songs, top, args):
    "The musician's folder: minutes of songs 1 to 300, as many as asked for."
    folder, left = top / "recordings", args.music * 60
    for number in [n for n in songs.numbers if n <= 300]:
        if left < 1: break
        score = random_excerpt(songs[number].score, min(60, left), number)
        new = lambda: played(score, args.program, round(min(60, left) * SAMPLE_RATE))
        left -= load_audio(keep(folder / f"{number:03d}.mp3", new)).shape[1] / SAMPLE_RATE
    return folder


def kept_back(songs, top, args):
    "The numbers of the songs that are kept back: each is there as recorded, and as a piano plays it."
    found, n = [], round(args.seconds * SAMPLE_RATE)
    for number in (number for number in numbers(args.songs) if number in songs):
        score = lambda: excerpt(songs[number].score, args.start, args.seconds)
        if not any(i.notes for i in score().instruments): continue
        real = keep(top / "kept back" / f"{number:03d}.flac", lambda: played(score(), args.program, n))
        half = top / ("odd" if number % 2 else "even") / real.name
        keep(half, lambda: load_audio(real))
        keep(top / "piano" / f"{number:03d}.flac", lambda: played(score(), 0, n))
        write_score(top / "scores" / f"{number:03d}.mid", score())
        found.append(number)
    if len(found) < 8:
        raise InputError(f"--songs {args.songs}: {len(found)} of them are in {songs.name}; give 8 or more")
    return found


def fit(x, args):
    "Cut or filled to as many seconds as all others."
    n = round(args.seconds * SAMPLE_RATE)
    return torch.nn.functional.pad(x[:, :n], (0, max(0, n - x.shape[1])))


def made(m, top, songs, args, when):
    "The folders of what a model makes, by what it is: from noise, and of the piano's excerpts."
    found, how = {}, dict(steps=args.steps, progress=False)
    for number in songs:
        piano = lambda: load_audio(top / "piano" / f"{number:03d}.flac")
        kinds = {"sample from noise": lambda: m.sample(args.seconds, seed=number, via="noise", **how)[0]}
        for s in args.strength:
            kinds[f"style transfer, strength {s:g}"] = lambda s=s: m.style_transfer(
                piano(), strength=s, seed=number, **how)
        score = top / "scores" / f"{number:03d}.mid"
        kinds["a piano's score, played"] = lambda: fit(m.render(score, seed=number, **how), args)
        for kind, make in kinds.items():
            found[kind] = top / when / kind
            keep(found[kind] / f"{number:03d}.flac", make)
    return found


class Took:
    "What training took, in a file beside it, so that a run that was cut off adds to it."
    def __init__(self, path):
        self.path = path
        self.known = json.loads(path.read_text()) if path.exists() else dict(seconds=0.0, memory=0)
        self.last = time.monotonic()

    def note(self, **more):
        now = time.monotonic()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        self.known |= dict(more, seconds=self.known["seconds"] + now - self.last,
                           memory=max(memory, self.known["memory"]))
        self.last = now
        with replacing(self.path) as temporary: temporary.write_text(json.dumps(self.known))


def step_time(m, corpus, recipe, rank):
    "Seconds of a step, by the median of some, and the model's memory is warm after it."
    times = []
    trial = replace(recipe, steps=12, validate_every=10**6, save_every=10**6, decay=0.0)
    adapt(m, corpus, trial, rank, progress=False, callback=lambda *_: times.append(time.monotonic()))
    return median(b - a for a, b in zip(times[2:], times[3:]))


def trained(m, corpus, top, args):
    "The model after training, and what that took."
    took, rank = Took(top / "took.json"), args.rank or None
    if (top / "model" / "config.json").exists():
        return Msanii.from_pretrained(top / "model"), took.known
    name = "adapter" if rank else "adapt"
    recipe = fitted(UNetRecipe.from_file(args.config) if args.config else RECIPES["unet"][name], m)
    if "steps" not in took.known:
        steps = max(round(60 * args.minutes / step_time(m, corpus, recipe, rank)), 1)
        took.last = time.monotonic()
        took.note(steps=steps)
    recipe = replace(recipe, steps=took.known["steps"])
    took.last = time.monotonic()
    def note(step, history):
        if step % 20 == 0: took.note()
    new, weights, history = adapt(m, corpus, recipe, rank, folder=top / "training", callback=note)
    took.note(history=[h for h in history if "valid" in h])
    if rank: save_adapter(top / "model", weights, m, args.model)
    else: new.save_pretrained(top / "model")
    return new, took.known


def distances(a, b, page, args):
    "Fréchet distance of each family between two folders, and whether they are told apart."
    cache = Path(args.out) / "cache"
    report = evaluate_folders(a, b, page, args.jobs, cache=cache, excerpt=args.seconds, progress=False)
    return {f: report["distribution"][f]["frechet"] for f in FAMILIES}


def cell(d): return f"{d['value']:.3g}{'*' * d['apart']}"


def print_table(top, before, after, args):
    "A row for each kind of sound: distances before and after, and what is left of them."
    print("\nFréchet distance from what was kept back (a star: told apart); left: how much of it is left "
          "after training, the geometric mean of the families\n")
    head("sound", *FAMILIES, "left")
    def line(name, a, b, left=""):
        found = distances(a, b, top / "pages" / name, args)
        row(name, *map(cell, found.values()), left and left(found))
        return found
    line("kept back, odd against even", top / "odd", top / "even")
    line("piano", top / "piano", top / "kept back")
    for kind in before:
        was = line(f"{kind}, before", before[kind], top / "kept back")
        line(f"{kind}, after", after[kind], top / "kept back", lambda now: f"{remains(was, now):.2f}")


def remains(was, now):
    ratios = [max(now[f]["value"], 1e-3) / max(was[f]["value"], 1e-3) for f in FAMILIES]
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def main(args):
    songs, m = open_songs(), Msanii.from_pretrained(args.model)
    config = Path(args.config).read_text() if args.config else None
    depends = {k: v for k, v in vars(args).items() if k not in ("out", "jobs", "model", "config")}
    depends |= dict(weights=m.fingerprint(), source=songs.name, recipe=config)
    top = Path(args.out) / key(__file__, **depends)
    songs_apart = kept_back(songs, top, args)
    corpus = record_corpus(recordings(songs, top, args), top / "corpus", n_jobs=args.jobs, progress=False,
                           scores=Listener(args.model) if args.hear else None)
    before = made(m, top, songs_apart, args, "before")
    new, took = trained(m, corpus, top, args)
    after = made(new, top, songs_apart, args, "after")
    valid = [h["valid"] for h in took.get("history", [])]
    fell = f", validation loss {valid[0]:.4f} to {valid[-1]:.4f}" if valid else ""
    apart = f"songs {songs_apart[0]} to {songs_apart[-1]} kept back ({len(songs_apart)}), {args.seconds:g} s"
    what = f"Adapter of rank {args.rank}" if args.rank else "The whole network"
    print(about(f"program {args.program}", songs.name, f"{args.music:g} minutes of recordings", apart),
          f"{what}: {took['steps']} steps in {took['seconds'] / 60:.1f} minutes, "
          f"{took['memory'] / 1e9:.1f} GB at most{fell}.", sep=". ")
    print_table(top, before, after, args)


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--program", type=int, default=46, help="General MIDI, from 0")
    parser.add_argument("--music", type=float, default=20.0, help="minutes of recordings")
    parser.add_argument("--minutes", type=float, default=30.0, help="of training")
    parser.add_argument("--rank", type=int, default=16, help="of the adapter; 0: the whole network learns")
    parser.add_argument("--hear", action="store_true", help="the recordings' scores, and learn with them")
    parser.add_argument("--songs", default="800-859", help="first-last, kept back")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each sound")
    parser.add_argument("--start", type=float, default=30.0, help="s into each song that is kept back")
    parser.add_argument("--strength", type=float, nargs="+", default=[0.5, 0.7], help="of style transfer")
    parser.add_argument("--steps", type=int, help="network passes of a sound; the model's number otherwise")
    parser.add_argument("--config", help="a recipe, as json; adapter or adapt otherwise")
    parser.add_argument("--model", help="folder or Hugging Face Hub id; the weights in the package otherwise")
    parser.add_argument("--jobs", type=int, default=-1)
    parser.add_argument("--out", default="outputs/adapt")
    main(parser.parse_args())
