"""Is what is composed music? Measures of scores: composed ones beside songs, and controls beside both.

    POP909=<folder or zip> python benchmarks/compose.py [--pieces 60] [--bars 64] [--songs heldout] [--speed]

Each row is the mean over the pieces, with the 95% interval of a bootstrap. SC: share of the notes in the best
of 24 scales. H4: entropy of the pitch classes of four bars, bits. GC, GS: grooves of neighbouring bars and of
all pairs: 1 less the share of sixteenths in which only one of them has an onset. TWIN: bars with a near copy
elsewhere (Jaccard index of their strokes above 0.7). chord: share of the notes' time in the chord. Memory:
for phrases of four bars, the greatest Jaccard index with a phrase of the training songs, in any key."""

import time
from dataclasses import replace

import numpy as np
from about import about, arguments, head, row
from scipy import sparse
from tqdm import tqdm

from msanii import Msanii
from msanii.chords import chord_rows
from msanii.compose import blank_sheet
from msanii.plan import likeness, strokes
from msanii.pop909 import open_songs
from msanii.sheet import SIXTEENTHS, load_sheet, song_sheet

SCALE = np.array([0, 2, 4, 5, 7, 9, 11])  # the 12 natural minor scales hold the same notes as the major ones


def part(sheet, first, bars):
    "Some bars of a sheet."
    a, b = sheet.lines[first], sheet.lines[min(first + bars, len(sheet.lines) - 1)]
    on = sheet.notes[:, 0]
    notes = sheet.notes[(on >= a) & (on < b)] - np.array([a, a, 0, 0, 0])
    notes[:, 1] = np.minimum(notes[:, 1], b - a)
    lines = sheet.lines[(sheet.lines >= a) & (sheet.lines <= b)] - a
    chords = sheet.chords[a // SIXTEENTHS : b // SIXTEENTHS]
    return replace(sheet, notes=notes, times=sheet.times[a : b + 1], lines=lines, chords=chords)


def measures(sheet):
    "The measures of a sheet, {name: number}."
    on, off, pitch, _, role = sheet.notes.T
    slots, places, count = sheet.slots, sheet.bars, len(sheet.lines) - 1
    classes = np.bincount(pitch % 12, minlength=12)
    scale = max(classes[(SCALE + k) % 12].sum() for k in range(12)) / max(len(pitch), 1)
    entropy = []
    for bar in range(0, count - 3, 4):
        p = np.bincount(pitch[(places[on] >= bar) & (places[on] < bar + 4)] % 12, minlength=12)
        if p.sum(): entropy.append(-np.sum(p[p > 0] / p.sum() * np.log2(p[p > 0] / p.sum())))
    struck = np.zeros((count, 16), bool)
    struck[places[on], slots[on]] = True
    same = 1 - (struck[:, None] != struck[None]).mean(-1)
    alike, sounds = likeness(strokes(sheet)), np.bincount(places[on], minlength=count) > 0
    sounding = np.zeros(len(sheet), int)
    for a, b in zip(on, off): sounding[a:b] += 1
    found = dict(SC=scale, H4=np.mean(entropy), GC=np.diagonal(same, 1).mean(),
                 GS=same[np.triu_indices(count, 1)].mean(), TWIN=(alike.max(1) > 0.7)[sounds].mean())
    found["notes a bar"], found["polyphony"] = len(on) / count, sounding[sounding > 0].mean()
    if sheet.chords:
        rows = np.repeat(np.stack([chord_rows(c)[:12] for c in sheet.chords]), SIXTEENTHS, 0)
        inside = sum(rows[a:b, p % 12].sum() for a, b, p in zip(on, off, pitch))
        told = sum(rows[a:b].any(1).sum() for a, b in zip(on, off))
        found["chord"] = inside / max(told, 1)
    for k, name in enumerate(("melody", "bridge", "piano")):
        found[f"{name}, pitch"] = pitch[role == k].mean() if (role == k).any() else np.nan
    return found


def shuffled(sheet, rng):
    "The same bars in another order."
    return _of_bars([(sheet, bar) for bar in rng.permutation(len(sheet.lines) - 1)])


def foreign(sheets, rng, bars):
    "Bars of different songs."
    return _of_bars(
        [(s, int(rng.integers(len(s.lines) - 1))) for s in rng.choice(np.array(sheets, object), bars)]
    )


def one_bar(sheet, rng):
    "One bar throughout."
    full = np.flatnonzero(np.bincount(sheet.bars[sheet.notes[:, 0]], minlength=len(sheet.lines) - 1))
    return _of_bars([(sheet, int(rng.choice(full)))] * (len(sheet.lines) - 1))


def off_by_one(sheet, rng, share=0.2):
    "A share of the pitches a semitone up or down."
    moved = (rng.random(len(sheet.notes)) < share) * rng.choice([-1, 1], len(sheet.notes))
    return replace(sheet, notes=sheet.notes + moved[:, None] * np.array([0, 0, 1, 0, 0]))


def _of_bars(chosen):
    "A sheet of some bars of sheets, each as long as a bar of four beats."
    notes, chords = [], []
    for place, (sheet, bar) in enumerate(chosen):
        a, b = sheet.lines[bar], sheet.lines[bar + 1]
        inside = sheet.notes[(sheet.notes[:, 0] >= a) & (sheet.notes[:, 0] < b)]
        notes.append(inside + np.array([16 * place - a] * 2 + [0, 0, 0]))
        beats = sheet.chords[a // SIXTEENTHS : b // SIXTEENTHS]
        chords += (beats + beats[-1:] * 4)[:4]
    notes = np.concatenate(notes)
    blank = blank_sheet(len(chosen))
    notes[:, 1] = np.minimum(notes[:, 1], len(blank))
    return replace(blank, notes=notes[np.argsort(notes[:, 0], kind="stable")], chords=chords)


def interval(values, rng, n=1000):
    "Mean and 95% interval of a bootstrap, as text."
    values = np.array(values)[~np.isnan(values)]
    means = rng.choice(values, (n, len(values))).mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{values.mean():.3f} ({low:.3f} to {high:.3f})"


def phrases(sheets, semitones=0):
    "Phrases of four bars of four beats as a sparse matrix of strokes (phrases, 64 * 128)."
    rows, columns, count = [], [], 0
    for sheet in sheets:
        bars = strokes(sheet)
        for first in range(0, len(bars) - 3, 4):
            heard = [(16 * i + slot, pitch + semitones) for i in range(4) for slot, pitch in bars[first + i]]
            inside = {128 * place + pitch for place, pitch in heard if place < 64 and 0 <= pitch < 128}
            if len(inside) < 8: continue
            rows += [count] * len(inside)
            columns += inside
            count += 1
    return sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), (count, 64 * 128))


def nearest(made, memory):
    "For each phrase of some sheets the greatest Jaccard index with the memory, in any transposition."
    best, size = None, np.asarray(memory.sum(1)).ravel()
    for semitones in range(-6, 6):
        moved = phrases(made, semitones)
        both = (moved @ memory.T).toarray()
        jaccard = (both / (np.asarray(moved.sum(1)) + size - both)).max(1)
        best = jaccard if best is None or len(best) != len(jaccard) else np.maximum(best, jaccard)
    return best


def compose(m, seed, bars, **given):
    "A sheet of so many bars, composed."
    piece = m.compose(bars * 240 / 90, seed, tempo=90, progress=False, **given)
    return part(load_sheet(piece), 0, bars)


def speed():
    "How long a minute takes: composed, and played by the network with 20 passes."
    m = Msanii.from_pretrained(device="cpu")
    m.compose(10, progress=False)  # the first one pays for what is made once
    print(about())
    head("a minute", "seconds")
    began = time.perf_counter()
    score = m.compose(60, seed=1, progress=False)
    row("composed", f"{time.perf_counter() - began:.1f}")
    m.render(score, progress=False)
    row("composed and played", f"{time.perf_counter() - began:.1f}")


def main():
    parser = arguments(__doc__)
    parser.add_argument("--pieces", type=int, default=60)
    parser.add_argument("--bars", type=int, default=64)
    parser.add_argument("--songs", default="heldout", choices=("heldout", "validation"))
    parser.add_argument("--speed", action="store_true", help="only the seconds that a minute of music takes")
    args = parser.parse_args()
    if args.speed: return speed()
    songs, rng = open_songs(), np.random.default_rng(0)
    m = Msanii.from_pretrained(device="cpu")
    real = [part(song_sheet(songs[n]), 0, args.bars) for n in songs.split(args.songs)[: args.pieces]]
    four = [sheet for sheet in real if sheet.meter == 4]
    seeds = range(args.pieces)
    rows = {
        f"songs, {args.songs}": real,
        "their bars shuffled": [shuffled(s, rng) for s in four],
        "bars of other songs": [foreign(four, rng, args.bars) for _ in four],
        "20% of pitches off by one": [off_by_one(s, rng) for s in real],
        "one bar throughout": [one_bar(s, rng) for s in four],
        "composed from nothing": [compose(m, s, args.bars) for s in seeds],
        "composed without a form": [compose(m, s, args.bars, form="") for s in seeds],
        "composed over chords": [compose(m, s, args.bars, chords=CHORDS[s % len(CHORDS)]) for s in seeds],
    }
    print(about(f"{args.pieces} pieces of {args.bars} bars, seeds from 0"))
    names = list(measures(real[0]))
    head("", *names)
    for name, sheets in rows.items():
        found = [measures(sheet) for sheet in sheets]
        row(name, *(interval([f.get(n, np.nan) for f in found], rng) for n in names))
    memory = phrases([song_sheet(songs[n]) for n in tqdm(songs.split("train"), desc="memory", leave=False)])
    print()
    head("nearest training phrase", "mean", "95th percentile", "above 0.7")
    for name in (f"songs, {args.songs}", "composed from nothing", "composed over chords"):
        near = nearest(rows[name], memory)
        row(name, interval(near, rng), f"{np.percentile(near, 95):.3f}", f"{(near > 0.7).mean():.3f}")


CHORDS = ("C G Am F", "Am F C G", "Dm7 G7 | Cmaj7 | Fmaj7 | Em7 Am7", "Em C G D", "F G Em Am", "Bb F Gm Eb")

if __name__ == "__main__": main()
