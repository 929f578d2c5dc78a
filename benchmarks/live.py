"""An hour of a live session: does level, spectrum, tempo or memory drift?

    python benchmarks/live.py [--minutes 60] [--seed 0] [--tempo 112] [--band] [--weights FOLDER]

The chords change every 16 bars and the density every 24, so that the music does not merely repeat. A row a
minute: level (dB), how far the mean of each mel bin is from that of the first two minutes (dB, mean over the
bins, the level aside), the tempo as it is heard (msanii.pulse, in the octave of the tempo that was asked
for), seconds of computing for one of sound, and the memory of the process. Below: what each of them changes
by from the first minute to the last, by a straight line, with its standard error."""

import math
import time

import numpy as np
import psutil
import torch
from about import about, arguments, head, row

from msanii import Msanii
from msanii.measures import analyse
from msanii.pulse import pulse

CHORDS = ("C G Am F", "Am F C G", "F C Dm Bb", "Dm7 G7 | Cmaj7 | F | E7")
DENSITIES = (1.0, 1.3, 0.8)
NAMES = ("level (dB)", "bins (dB)", "tempo heard", "s per s", "memory (MB)")


def heard(x, asked):
    "The tempo of a minute (2, n), in the octave of the one that was asked for."
    tempo = pulse(analyse(x).onset)[0]
    return tempo * 2.0 ** round(math.log2(asked / tempo))


def steer(live):
    "What changes before the next bar."
    if live.number and live.number % 16 == 0: live.change(chords=CHORDS[live.number // 16 % len(CHORDS)])
    turn = live.number // 24 % len(DENSITIES)
    if live.number and live.number % 24 == 0: live.change(density=DENSITIES[turn])


def play(m, minutes, seed, tempo, band):
    "The minutes of a session: each a waveform (2, n), and the seconds that it took."
    live = m.live(seed=seed, tempo=tempo, chords=CHORDS[0], band=band)
    for minute in range(minutes):
        began, parts = time.perf_counter(), []
        while live.line(live.number) < 60 * (minute + 1):
            steer(live)
            parts.append(live.next().sound.cpu())
        yield torch.cat(parts, 1), time.perf_counter() - began


def change(values):
    "By what a row of values changes from its first to its last, by a straight line, and the standard error."
    if len(values) < 4: return math.nan, math.nan
    x, y = np.linspace(0, 1, len(values)), np.array(values)
    line = np.polyfit(x, y, 1)
    error = np.square(y - np.polyval(line, x)).sum() / (len(y) - 2) / np.square(x - x.mean()).sum()
    return line[0], math.sqrt(error)


def main():
    parser = arguments(__doc__)
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tempo", type=float, default=112)
    parser.add_argument("--band", action="store_true")
    parser.add_argument("--weights")
    args = parser.parse_args()
    m, rows, first = Msanii.from_pretrained(args.weights), [], []
    print(about(), end="\n\n")
    head("minute", *NAMES)
    for x, seconds in play(m, args.minutes, args.seed, args.tempo, args.band):
        bins = 20 / math.log(10) * m.mel.unscale(m.encode(x[None])).mean((0, 1, 3)).cpu()
        first = [*first, bins][:2]
        away = bins - sum(first) / len(first)
        rows.append((10 * x.square().mean().log10().item(), (away - away.mean()).abs().mean().item(),
                     heard(x, args.tempo), 44_100 * seconds / x.shape[1],
                     psutil.Process().memory_info().rss / 1e6))
        row(len(rows), *(f"{value:.2f}" for value in rows[-1]))
    print()
    head("from the first minute to the last", "change", "standard error")
    for name, values in zip(NAMES, zip(*rows[2:])): row(name, *(f"{value:+.2f}" for value in change(values)))


if __name__ == "__main__": main()
