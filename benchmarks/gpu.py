"""What a GPU is good for: it measures the training steps of all shipped recipes, trains them for as long as
there is time, and compares what GPU and CPU make of one score.

    python benchmarks/gpu.py [--minutes 25] [--data POP909.zip] [--songs 800] [--render 60] [--out runs/gpu]
                             [--only steps|train] [--networks unet,vocoder] [--corpora FOLDER] [--dry]

First songs are rendered into three corpora (piano, band, studies), one after the other, by all processors,
`--render` seconds each; or a folder of ready ones is named by --corpora. Then every network trains in a
process of its own, all at once, until the minutes are over; the learning rate falls by the clock, and of all
validations the best state is kept. If one of them fails in its first minute, all stop: the time is better
spent on a second try. Without a GPU, or with --dry, all is small, to see that it works. Prints tables
(markdown); the model lies in OUT/model, its weights in 16 bits."""
import functools
import json
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import torch
from torch.utils.data import default_collate
from torch.utils.flop_counter import FlopCounterMode

import msanii.arranging
import msanii.hearing
import msanii.training as training
from msanii import Msanii, UNet, Vocoder
from msanii.composing import RECIPES, read_tunes, train_floor
from msanii.corpus import corpus_about, corpus_split, render_corpus
from msanii.hearing import train_transcriber
from msanii.pipeline import Settings, save_part
from msanii.pop909 import Composed, open_songs, song_by_rules
from msanii.templates import Templates

from about import about, arguments, head, row

CORPORA = {"piano": None, "band": "band", "study": "study"}
WORKERS = dict(unet=6, vocoder=1, transcriber=2, composer=3, planner=1)  # processes that read ahead, of 16
LEARN = dict(unet=training.train_unet, vocoder=training.train_vocoder, transcriber=train_transcriber)


# Songs

def songs_of(args): return Composed(909, 20.0) if args.data == "composed" else open_songs(args.data)


def corpora(args): return [str((args.corpora or args.out) / f"corpus-{name}") for name in CORPORA]


def render(args, name):
    "One corpus, its validation songs first; interrupted, it keeps what it has."
    songs = songs_of(args)
    rest = list(songs.split("train"))[: args.songs]
    random.Random(0).shuffle(rest)
    numbers = list(songs.split("validation"))[: args.songs] + rest
    render_corpus(songs, args.out / f"corpus-{name}", numbers, seconds=6 if args.dry else 30,
                  arrange=CORPORA[name], n_jobs=max(1, os.cpu_count() - 1), progress=False)


# Training by the clock

class Clocked(training.Run):
    """A run that ends at a time of day, after one step at least: its rate falls as time goes by, and it keeps
    its best validation."""
    begun = until = None

    def batches(self, *args):
        for batch in super().batches(*args):
            if self.done and time.time() > self.until: return
            yield batch

    def _correct(self):
        share = (time.time() - self.begun) / (self.until - self.begun)
        clock = replace(self.recipe, steps=10**6, warmup=0)
        rate = training.learning_rate(share * 10**6, clock) * training.warm_up(self.done, self.recipe.warmup)
        with patch.object(training, "learning_rate", lambda step, recipe: max(rate, 0.0)): super()._correct()

    def note(self, loss):
        super().note(loss)
        value = self.history[-1].get("valid") if self.history else None
        if value is not None and self.history[-1]["step"] == self.done and value < getattr(self, "low", 1e9):
            self.low = value
            self.kept = {k: v.detach().clone() for k, v in self.best.state_dict().items()}

    def finish(self):
        if self.valid is not None:
            self.history.append(dict(step=self.done, valid=self.validate()))
            if self.history[-1]["valid"] > getattr(self, "low", 1e9): self.best.load_state_dict(self.kept)
        return super().finish()


GPU = dict(
    unet=dict(batch=32, frames=512, lr=1e-3, decay=0.7, warmup=300, ema=0.999, ema_start=500,
              precision="bf16"),
    composer=dict(batch=64, precision="bf16"), planner=dict(batch=32, precision="bf16"),
    transcriber=dict(batch=24, precision="bf16"), vocoder=dict(batch=32, mix=[3, 4, 3], precision="no"))


def recipe_of(args, network):
    recipe = RECIPES[network]["small" if args.dry else "shipped"]
    if not args.dry: recipe = replace(recipe, **GPU[network])
    if network == "unet" and args.dry:
        shown = RECIPES["unet"]["shipped"]
        small = dict(shown.network, width=64, levels=3)
        recipe = replace(shown, network=small, batch=2, frames=64, steps=20)
    return replace(recipe, frames=min(recipe.frames, 64), batch=2, mix=[]) if args.dry else recipe


def learn(args, network, recipe, workers=0, **kwargs):
    "Train one network: (network, history, what to note)."
    if network in LEARN:
        how = dict(num_workers=workers, progress=False, **kwargs)
        made, mel, history = LEARN[network](corpora(args), recipe, **how)
        return made, mel, history, dict(corpora=[corpus_about(c) for c in corpora(args)])
    songs = songs_of(args)
    tunes, valid = tunes_of(args)
    made, history = train_floor(network, tunes, recipe, valid, num_workers=workers, progress=False, **kwargs)
    return made, None, history, dict(songs=songs.name, tunes=len(tunes))


@functools.cache
def _tunes(data, n):
    songs = songs_of(SimpleNamespace(data=data))
    of = lambda part: read_tunes(songs, list(songs.split(part))[:n], progress=False)
    return of("train"), of("validation")


def tunes_of(args): return _tunes(args.data, args.songs)


def train_one(args):
    "A process of its own: train --child until --until, and put it into the model."
    network, recipe = args.child, replace(recipe_of(args, args.child), steps=10**6, log_every=50)
    Clocked.begun, Clocked.until = time.time(), args.until
    if not args.dry: recipe = replace(recipe, validate_every=max(100, args.every))
    with patch.object(training, "Run", Clocked):
        made, mel, history, about_it = learn(args, network, recipe, min(WORKERS[network], os.cpu_count() - 1))
    done = history[-1]["step"]
    print(f"{network}: {done} steps in {time.time() - Clocked.begun:.0f} s, "
          f"{torch.cuda.max_memory_allocated() / 1e9:.1f} GB; validation "
          + " ".join(f"{h['valid']:.4f}" for h in history if "valid" in h), flush=True)
    more = {}
    if network == "unet":
        window = (recipe.frames - 1) * mel.hop / mel.sample_rate
        more = dict(settings=dict(schedule=recipe.schedule, objective=recipe.objective, window=window),
                    condition=training.Condition(recipe.condition))
    folder = args.out / "model"
    save_part(folder, network, made.cpu(), mel.cpu() if mel is not None else None, half=True, **more)
    record = dict(recipe=asdict(replace(recipe, steps=done)), **about_it, history=history)
    (folder / f"{network}.history.json").write_text(json.dumps(record))


def train(args, until):
    "All networks at once, each in its own process; True if all ended well."
    script, begun = [sys.executable, __file__, *args.given, "--until", str(until), "--child"], time.time()
    jobs = {network: subprocess.Popen(script + [network]) for network in args.networks}
    while any(job.poll() is None for job in jobs.values()):
        failed = [network for network, job in jobs.items() if job.poll()]
        if failed and time.time() < begun + 60:
            for job in jobs.values(): job.kill()
            print(f"stopped: {', '.join(failed)} failed", flush=True)
            return False
        time.sleep(0.2)
    return all(job.returncode == 0 for job in jobs.values())


# Steps, measured

def sync():
    if torch.cuda.is_available(): torch.cuda.synchronize()


def matrix_rate(dtype, size):
    "TFLOP/s of a product of two square matrices, the median of ten."
    a, b = (torch.randn(size, size, device=DEVICE, dtype=dtype) for _ in range(2))
    times = []
    for _ in range(12):
        sync(); start = time.perf_counter(); a @ b; sync()
        times.append(time.perf_counter() - start)
    return 2 * size**3 / sorted(times[2:])[5] / 1e12


def steps_of(args, network, precision):
    "(seconds of a step, FLOP of it, GB of memory at most), the loader left out: the same batch each time."
    times, steps = [], 3 if args.dry else 13
    recipe = replace(recipe_of(args, network), steps=steps, precision=precision, validate_every=10**6,
                     warmup=1, log_every=1)
    def repeated(run, data, num_workers=0):
        batch = default_collate([{**data[i], "index": i} for i in range(recipe.batch)])
        batch = training._to(batch, run.accelerator.device)
        with FlopCounterMode(display=False) as counter: run._ask(batch)
        run.opt.zero_grad()
        repeated.flop = counter.get_total_flops()
        for _ in range(steps): yield [batch]
    def clock(step, history): sync(); times.append(time.perf_counter())
    if torch.cuda.is_available(): torch.cuda.reset_peak_memory_stats()
    with patch.multiple(training.Run, batches=repeated, validate=lambda run: 0.0):
        learn(args, network, recipe, callback=clock)
    gaps = sorted(b - a for a, b in zip(times[len(times) // 4 :], times[len(times) // 4 + 1 :]))
    memory = torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else 0.0
    return gaps[len(gaps) // 2], repeated.flop, memory


def steps(args):
    "The table of training steps."
    size = 512 if args.dry else 8192
    kinds = {"no": torch.float32} if args.dry else {
        "no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    peak = {name: matrix_rate(dtype, size) for name, dtype in kinds.items()}
    print(f"\n{about('training steps')}\n\nMatrix product, {size} x {size}: "
          + ", ".join(f"{name} {rate:.1f} TFLOP/s" for name, rate in peak.items()), end="\n\n")
    head("network", "batch x frames", "TFLOP a step",
         *(f"{name}: ms a step; share of the product" for name in kinds), "GB, last")
    for network in args.networks:
        try:
            found = {name: steps_of(args, network, name) for name in kinds}
            recipe, (_, flop, memory) = recipe_of(args, network), found[list(kinds)[-1]]
            shares = (f"{1e3 * s:.1f}; {flop / s / 1e12 / peak[name]:.3f}"
                      for name, (s, _, _) in found.items())
            row(network, f"{recipe.batch} x {recipe.frames}", f"{flop / 1e12:.3f}", *shares, f"{memory:.1f}")
        except Exception as error:  # the others are still worth measuring
            traceback.print_exc()
            row(network, repr(error)[:200])


# GPU and CPU

@torch.no_grad()
def compare(args):
    "What both make of the same, and the time of 190 s."
    long, short = (4, 2) if args.dry else (190, 10)
    folder = args.out / "model"
    save_part(folder, "templates", Templates.load())
    models = [Msanii.from_pretrained(folder, device=name) for name in ("cpu", DEVICE)]
    score = song_by_rules((0, 1), float(short))
    sounds, mels = [], []
    x = torch.randn(1, 2, 128, 64, generator=torch.Generator().manual_seed(0))
    for m in models:
        sounds.append(m.render(score, seed=0, steps=5, progress=False))
        t = torch.tensor([300], device=m.device)
        hidden = torch.zeros(1, 1, m.unet.d_cond, 64, device=m.device)
        mels.append(m.unet(x.to(m.device), t, hidden).cpu())
    a, b = (x.cpu().double() for x in sounds)
    noise = (a - b).square().mean().clamp(min=1e-20)
    print(f"\n{about('GPU beside CPU')}\n")
    first, second = mels
    print(f"One pass of the U-Net, relative distance: {((first - second).norm() / first.norm()).item():.2e}")
    above = 10 * (a.square().mean() / noise).log10().item()
    print(f"{short} s of a score rendered in 5 passes: signal {above:.1f} dB above the difference\n")
    head("network", "seconds for a sample of", "passes", "seconds", "GB at most")
    unet = UNet(width=32, levels=2) if args.dry else UNet()
    paper = Msanii(unet, Vocoder(), settings=Settings(iterations=100)).to(DEVICE)
    for name, m in (("shipped recipe", models[1]), ("the paper's, untrained", paper)):
        if torch.cuda.is_available(): torch.cuda.reset_peak_memory_stats()
        passes = 2 if args.dry else 20
        m.sample(float(short), steps=2, via="noise", progress=False); sync()
        start = time.perf_counter(); m.sample(float(long), steps=passes, via="noise", progress=False); sync()
        memory = torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else 0.0
        row(name, long, passes, f"{time.perf_counter() - start:.2f}", f"{memory:.1f}")


def render_all(args):
    "The three corpora, each for --render seconds at most; False if one has too few songs to train on."
    for name in CORPORA:
        job = subprocess.Popen([sys.executable, __file__, *args.given, "--child", f"corpus-{name}"])
        try: job.wait(args.render)
        except subprocess.TimeoutExpired:
            job.send_signal(signal.SIGINT)
            job.wait()
    few = [c for c in corpora(args) if not (Path(c) / "corpus.json").exists() or not corpus_split(c, "train")]
    for c in few: print(f"{c} has no song to train on: give --render more seconds", flush=True)
    for c in set(corpora(args)) - set(few): print(c, corpus_about(c), flush=True)
    return not few


def main(args):
    end = time.time() + 60 * args.minutes
    args.out.mkdir(parents=True, exist_ok=True)
    if not args.corpora and not render_all(args): return 1
    if args.only != "train": steps(args)
    if args.only == "steps": return 0
    well = train(args, max(end, time.time() + 20))  # however long the rest took, there is something to see
    if well and {"unet", "vocoder"} <= set(args.networks): compare(args)
    return 0 if well else 1


DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--data", default=os.environ.get("POP909", "composed"))
    parser.add_argument("--songs", type=int, default=800)
    parser.add_argument("--render", type=float, default=60, help="seconds for each corpus")
    parser.add_argument("--corpora", type=Path, help="folder with corpus-piano, corpus-band, corpus-study")
    parser.add_argument("--every", type=int, default=250, help="steps between validations")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"))
    parser.add_argument("--only", choices=("steps", "train", "compare"))
    parser.add_argument("--networks", default="unet,vocoder,transcriber,composer,planner")
    parser.add_argument("--dry", action="store_true")
    parser.add_argument("--child"), parser.add_argument("--until", type=float)
    args = parser.parse_args()
    args.networks = args.networks.split(",")
    args.dry = args.dry or not torch.cuda.is_available()
    given = [f"--{name}={value}" for name, value in dict(
        data=args.data, songs=args.songs, out=args.out, every=args.every).items()]
    if args.corpora: given.append(f"--corpora={args.corpora}")
    args.given = given + ["--dry"] * args.dry
    if args.only == "compare": sys.exit(compare(args))
    if args.child and args.child.startswith("corpus-"):
        try: render(args, args.child.removeprefix("corpus-"))
        except KeyboardInterrupt: pass
    elif args.child: train_one(args)
    else: sys.exit(main(args))
