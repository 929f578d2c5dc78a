"""How the composer samples, chosen beside songs 780 to 799: its trust, its sharpness, how far it leans.

    POP909=<folder or zip> python benchmarks/choose_compose.py [--pieces 10] [--bars 32] [SETTING ...]

A setting is what differs from the weights' own, such as "planner.trust=0.8 lean.strokes=0": trust and
sharpness of either network (see `BitUNet`), and the log odds that `Struck` adds to strokes and sustains.
Without any, each of them is moved by itself, and the trusts together. Each row is the mean over pieces
composed from nothing at the same seeds, with how far it is from the songs in brackets, counted in what is
allowed; see compose.py for the measures. Astray are notes that are neither in the scale nor in the chord: a
setting must not come to the songs' share of the scale by wrong notes.

The rule, which the last line applies: the miss of a setting is that of its farthest measure, and the least
miss is the choice, unless the weights' own is within a tenth of it. More repetition (GC, GS, TWIN) and more
notes in the chord than in the songs are no miss: there the aims are lower bounds. A setting with which a
piece collapses, its notes in no scale or twice as many as in songs, is not chosen: means hide the rare, and
ten pieces do, so ask for thirty of 64 bars where it matters."""
import functools

import numpy as np
from about import about, arguments, head, row
from compose import SCALE, compose, measures, part

import msanii.compose
from msanii import Msanii
from msanii.chords import chord_rows
from msanii.pop909 import open_songs
from msanii.sheet import SIXTEENTHS, song_sheet

# how far from the songs a measure may be: SC, H4, notes and polyphony as the aims say, the rest by a guess
ALLOWED = {"SC": 0.02, "H4": 0.1, "GC": 0.05, "GS": 0.05, "TWIN": 0.25, "notes a bar": 0.15,
           "polyphony": 0.15, "chord": 0.05, "astray": 0.004}
SHARES = ("H4", "notes a bar", "polyphony")  # of the songs' own value
AT_LEAST = ("GC", "GS", "TWIN", "chord")
COLLAPSED = 0.85  # a piece with a smaller share of its notes in the best scale is none
VALUES = {"planner.trust": (0.6, 0.8, 1.0, 1.3), "planner.sharpness": (0.9, 1.0, 1.2, 1.4),
          "composer.trust": (0.6, 0.8, 1.0, 1.2), "composer.sharpness": (0.8, 1.0, 1.2),
          "lean.strokes": (0.0, 0.3, 0.6), "lean.sustains": (1.0, 1.5, 2.0)}
TOGETHER = ("planner.trust=1 composer.trust=1", "planner.trust=1.2 composer.trust=0.9",
            "planner.trust=1.3 composer.trust=1.2 lean.strokes=0")


def read(text):
    "{name: number} of a setting as it is written."
    return {name: float(value) for name, _, value in (word.partition("=") for word in text.split())}


def own(m):
    "The setting of the weights, {name: number}."
    found = {f"{part}.{name}": m.parts[part].settings[name] for part in ("planner", "composer")
             for name in ("trust", "sharpness")}
    return found | dict(zip(("lean.strokes", "lean.sustains"), msanii.compose.LEAN))


def settle(m, setting, struck=msanii.compose.Struck):
    "Let a model compose by a whole setting."
    for name, value in setting.items():
        part, _, which = name.partition(".")
        if part != "lean": m.parts[part].settings[which] = value
    lean = setting["lean.strokes"], setting["lean.sustains"]
    msanii.compose.Struck = functools.partial(struck, lean=lean)


def judge(sheet):
    "The measures of a sheet with chords, and the share of its notes that go astray."
    classes = sheet.notes[:, 2] % 12
    scales = [np.isin(np.arange(12), (SCALE + k) % 12) for k in range(12)]
    scale = max(scales, key=lambda scale: scale[classes].sum())
    chords = np.stack([chord_rows(c)[:12] for c in sheet.chords])
    inside = chords[sheet.notes[:, 0] // SIXTEENTHS, classes] > 0
    return measures(sheet) | dict(astray=(~scale[classes] & ~inside).mean())


def main():
    parser = arguments(__doc__)
    parser.add_argument("settings", nargs="*", metavar="SETTING", help="such as composer.trust=1")
    parser.add_argument("--pieces", type=int, default=10)
    parser.add_argument("--bars", type=int, default=32)
    args = parser.parse_args()
    songs, m = open_songs(), Msanii.from_pretrained(device="cpu")
    shipped = own(m)
    alone = [f"{n}={v:g}" for n, values in VALUES.items() for v in values if v != shipped[n]]
    texts = args.settings or [*alone, *TOGETHER]
    unknown = {name for text in texts for name in read(text)} - set(shipped)
    if unknown: parser.error(f"there is no {', '.join(unknown)}: {', '.join(shipped)}")
    real = [judge(part(song_sheet(songs[n]), 0, args.bars)) for n in songs.split("validation")]
    aim = {name: np.mean([found[name] for found in real]) for name in ALLOWED}
    allowed = {name: much * (aim[name] if name in SHARES else 1) for name, much in ALLOWED.items()}
    print(about(f"{args.pieces} pieces of {args.bars} bars, seeds from 0"))
    head("setting", *ALLOWED, "miss", "collapsed")
    gone = lambda found: found["SC"] < COLLAPSED or found["notes a bar"] > 2 * aim["notes a bar"]
    row(f"{len(real)} songs", *(f"{aim[name]:.3f}" for name in ALLOWED), "", sum(map(gone, real)))
    misses = {}
    for text in ["", *texts]:
        settle(m, shipped | read(text))
        made = [judge(compose(m, seed, args.bars)) for seed in range(args.pieces)]
        value = {name: np.mean([found[name] for found in made]) for name in ALLOWED}
        away = {name: (value[name] - aim[name]) / allowed[name] for name in ALLOWED}
        misses[text] = max(-far if name in AT_LEAST else abs(far) for name, far in away.items())
        row(text or ", ".join(f"{n}={v:g}" for n, v in shipped.items()),
            *(f"{value[name]:.3f} ({away[name]:+.1f})" for name in ALLOWED), f"{misses[text]:.2f}",
            lost := sum(map(gone, made)))
        if lost: misses[text] += 100  # a mean hides the rare
    best = min(misses, key=misses.get)
    if misses[""] <= 1.1 * misses[best]: best = ""
    print(f"\nChosen, by the least of the farthest measures: {best or 'what the weights have'}")


if __name__ == "__main__": main()
