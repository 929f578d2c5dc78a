"""Long music: decoding at once against decoding in windows, and the memory that a second of a piece needs.

python benchmarks/length.py --songs 780-789     spectral convergence and computing time, 60 s of each song
python benchmarks/length.py --memory 100 400    peak memory of tasks, each in a process of its own"""
import argparse
import resource
import subprocess
import sys
import time

import pretty_midi
import torch

from about import about, arguments, head, row
from msanii import Msanii
from msanii.app import song_numbers
from msanii.long import decode_long, encode_long
from msanii.losses import log_magnitude, spectral_convergence
from msanii.mel import stft
from msanii.pop909 import open_songs
from msanii.score import render_score

WAYS = {"at once": 10**9, "windows of 12 s": 512}


def decoding(numbers, seconds):
    "The table of decoding, means over songs."
    m, songs = Msanii.from_pretrained(device="cpu"), open_songs()
    found = {way: [] for way in WAYS}
    for number in numbers:
        waveform = render_score(songs[number].score)[:, : seconds * 44_100]
        x, true = encode_long(m, waveform).clamp(-1, 1), stft(waveform).abs()
        for way, frames in WAYS.items():
            began = time.perf_counter()
            made = decode_long(m, x, waveform.shape[1], 0, frames)
            took = time.perf_counter() - began
            S = stft(made).abs()
            away = spectral_convergence(S, true).item(), log_magnitude(S, true).item()
            found[way].append((*away, took / seconds))
    print(about(f"{seconds} s of {len(numbers)} songs"), end="\n\n")
    head("decoded", "spectral convergence", "log magnitude", "s per s")
    for way, rows in found.items(): row(way, *(f"{x:.4f}" for x in torch.tensor(rows).mean(0).tolist()))


def make(task, seconds):
    "Do a task on so many seconds, with one pass; prints the peak memory of this process in GB."
    torch.set_num_threads(1)
    m, how = Msanii.from_pretrained(device="cpu"), dict(steps=1, progress=False)
    noise = 0.1 * torch.randn(2, seconds * 44_100, generator=torch.Generator().manual_seed(0))
    score = pretty_midi.PrettyMIDI()
    score.instruments.append(pretty_midi.Instrument(0))
    notes = [pretty_midi.Note(80, 48 + k % 24, k / 2, k / 2 + 0.4) for k in range(2 * seconds)]
    score.instruments[0].notes.extend(notes)
    tasks = {
        "sample": lambda: m.sample(seconds, via="noise", **how),
        "render": lambda: m.render(score, **how),
        "style transfer": lambda: m.style_transfer(noise, 0.3, **how),
        "inpaint": lambda: m.inpaint(noise, [(1, 2)], **how),
        "outpaint": lambda: m.outpaint(noise, 2, **how),
    }
    tasks[task]()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)


def memory(lengths):
    "The table of memory."
    print(about(threads=1), end="\n\n")
    head("task", *(f"{s} s, GB" for s in lengths), "MB a second")
    for task in ("sample", "render", "style transfer", "inpaint", "outpaint"):
        call = lambda s: [sys.executable, __file__, "--make", task, str(s)]
        peaks = [float(subprocess.check_output(call(s), text=True).split()[-1]) for s in lengths]
        slope = 1000 * (peaks[-1] - peaks[0]) / (lengths[-1] - lengths[0])
        row(task, *(f"{p:.2f}" for p in peaks), f"{slope:.2f}")


def main():
    parser = arguments(__doc__)
    parser.add_argument("--songs", default="780-789")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--memory", type=int, nargs=2, metavar="SECONDS")
    parser.add_argument("--make", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.make: make(args.make[0], int(args.make[1]))
    elif args.memory: memory(args.memory)
    else: decoding(song_numbers(args.songs, open_songs()), args.seconds)


if __name__ == "__main__": main()
