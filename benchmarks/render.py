"""Does the network play the score? `Msanii.render` against FluidSynth's own rendering of the same score.

    python benchmarks/render.py [--model FOLDER] [--songs 800-859] [--seconds 10] [--steps 10 20 50]
                                [--guidance 1] [--jobs 2]

Each song of POP909 (the environment variable POP909; composed songs without it) gives an excerpt of its
score. Sounds compared with FluidSynth's of that excerpt: the same through mel and vocoder alone (the
ceiling), the excerpt of another song (the floor), `render` at several numbers of network passes, and `render`
of the other song's score. Columns: mean cosine similarity of chroma frames (librosa's chroma_cqt, frames in
which the true one is silent left out), F1 of detected onsets (librosa's, within 50 ms, by mir_eval), mean
distance of the scaled mels, seconds of computing per second of stereo on one core. Means over songs, 95%
bootstrap intervals; seeds are song numbers."""
import time

import joblib
import librosa
import mir_eval
import numpy as np
import torch
from tqdm.auto import tqdm

from msanii import Msanii
from msanii.audio import SAMPLE_RATE, InputError
from msanii.distances import bootstrap
from msanii.pop909 import excerpt, open_songs
from msanii.score import render_score

from about import about, arguments, head, row


def played(songs, number, start, seconds):
    "An excerpt of a song's score, and how it sounds: (score, (2, n))."
    score = songs[number].score
    score = excerpt(score, min(n.start for i in score.instruments for n in i.notes) + start, seconds)
    if not any(i.notes for i in score.instruments): raise InputError(f"song {number} has no notes there")
    n, sound = round(seconds * SAMPLE_RATE), render_score(score)
    sound = torch.nn.functional.pad(sound[:, :n], (0, max(0, n - sound.shape[1])))
    return score, sound / sound.abs().max().clamp(min=1)


def hearing(sound):
    "Chroma frames, onset times and energy of a waveform (2, n)."
    mono = sound.mean(0).numpy()
    return (librosa.feature.chroma_cqt(y=mono, sr=SAMPLE_RATE, hop_length=1024, tuning=0.0),
            librosa.onset.onset_detect(y=mono, sr=SAMPLE_RATE, units="time"),
            librosa.feature.rms(y=mono, frame_length=2048, hop_length=1024)[0])


def compare(made, true, heard, m):
    "Chroma similarity, onset F1 and mel L1 of two waveforms (2, n); heard: of the true one."
    chroma, onsets, _ = hearing(made)
    wanted, true_onsets, loud = heard
    t = min(chroma.shape[1], wanted.shape[1], len(loud))
    a, b, on = chroma[:, :t], wanted[:, :t], loud[:t] > 1e-3 * loud.max()
    cosine = (a * b).sum(0) / (np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0) + 1e-9)
    return dict(chroma=float(cosine[on].mean()),
                onset=mir_eval.onset.f_measure(true_onsets, onsets, window=0.05)[0],
                mel=(m.encode(made[None]) - m.encode(true[None])).abs().mean().item())


def one(number, other, args):
    "All rows of a song: {row: measures}."
    torch.set_num_threads(1)
    m, songs = Msanii.from_pretrained(args.model, device="cpu"), open_songs()
    score, true = played(songs, number, args.start, args.seconds)
    wrong, stranger = played(songs, other, args.start, args.seconds)
    heard, rows = hearing(true), {}
    def add(name, make):
        began = time.perf_counter()
        made = torch.nn.functional.pad(make(), (0, true.shape[1]))[:, : true.shape[1]]
        seconds = (time.perf_counter() - began) / args.seconds
        rows[name] = dict(seconds=seconds, **compare(made, true, heard, m))
    add("true rendering through mel and vocoder (ceiling)", lambda: m.reconstruct(true, seed=number))
    add("another song (floor)", lambda: stranger)
    how = dict(guidance=args.guidance, sampler=args.sampler, window=args.window, progress=False)
    render = lambda score, steps: m.render(score, seed=number, steps=steps, **how)
    for steps in args.steps: add(f"render, {steps} passes", lambda: render(score, steps))
    middle = args.steps[len(args.steps) // 2]
    if not args.no_wrong:
        add(f"render of another song's score, {middle} passes", lambda: render(wrong, middle))
    return rows


def cell(rows, key):
    value, low, high = bootstrap([r[key] for r in rows])
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def parse():
    parser = arguments(__doc__)
    parser.add_argument("--model", help="folder or Hugging Face Hub id; the weights in the package otherwise")
    parser.add_argument("--songs", default="800-859")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--start", type=float, default=30.0)
    parser.add_argument("--steps", type=int, nargs="*", default=[10, 20, 50])
    parser.add_argument("--guidance", type=float, default=None)
    parser.add_argument("--sampler", default=None)
    parser.add_argument("--window", type=float, default=None)
    parser.add_argument("--no-wrong", action="store_true")
    parser.add_argument("--jobs", type=int, default=-1)
    return parser.parse_args()


def main():
    args = parse()
    songs, (first, last) = open_songs(), map(int, args.songs.split("-"))
    numbers = [n for n in range(first, last + 1) if n in songs]
    if len(numbers) < 2: raise InputError(f"--songs {args.songs}: give two songs or more of {songs.name}")
    work = [joblib.delayed(one)(n, numbers[(i + 1) % len(numbers)], args) for i, n in enumerate(numbers)]
    results = joblib.Parallel(n_jobs=args.jobs, return_as="generator")(work)
    found = list(tqdm(results, total=len(work), desc="songs"))
    m = Msanii.from_pretrained(args.model, device="cpu")
    guidance = m.settings.guidance if args.guidance is None else args.guidance
    excerpts = f"songs {numbers[0]} to {numbers[-1]}, {args.seconds:g} s from {args.start:g} s each"
    how = f"sampler {args.sampler or m.settings.sampler}, guidance {guidance:g}"
    print(about(songs.name, excerpts, how, threads=1), end="\n\n")
    head("sound", "chroma similarity", "onset F1", "mel L1", "s per s")
    for name in found[0]:
        rows = [f[name] for f in found]
        means = f"{np.mean([r['mel'] for r in rows]):.4f}", f"{np.mean([r['seconds'] for r in rows]):.2f}"
        row(name, cell(rows, "chroma"), cell(rows, "onset"), *means)


if __name__ == "__main__": main()
