"""How often does `pulse` find the annotated tempo, and its beats the annotated beats?

    POP909=<folder or zip> python benchmarks/tempo.py [--songs 800-859] [--every 1] [--seconds 30]
                            [--start 30]

Songs played by FluidSynth. right: within 5% of the annotated tempo; doubled, halved: of twice or half of
it. Beats: F within 70 ms of the annotations. Beside `pulse`: its first two steps alone (04_pulse), and the
highest peak of the autocorrelation between 40 and 240 beats a minute (naive). Means with 95% bootstrap
intervals.

The two numbers of the third step were chosen on `--songs 5-779 --every 8 --seconds 12`."""

import mir_eval
import numpy as np
from tqdm.auto import tqdm

from msanii.audio import InputError
from msanii.distances import bootstrap
from msanii.measures import analyse
from msanii.pop909 import excerpt, open_songs
from msanii.pulse import RATE, _sharpen, _votes, autocorrelation, beat_frames, pulse
from msanii.report import interval_text
from msanii.score import render_score

from about import about, arguments, head, row

WORDS = {"right": 1, "doubled": 2, "halved": 0.5}


def two_steps(onset):
    r = autocorrelation(onset)
    lags, votes, liking = _votes(r)
    return 60 * RATE / _sharpen(r, lags[(votes * liking).argmax()])


def naive(onset):
    r, lags = autocorrelation(onset), np.arange(int(RATE / 4) + 1, int(RATE * 1.5) + 2)
    return 60 * RATE / lags[r[lags].argmax()]


FORMS = {"pulse": lambda onset: pulse(onset)[0], "its first two steps": two_steps, "naive": naive}


def verdict(found, true):
    "What a tempo is beside the true one."
    return next((word for word, by in WORDS.items() if abs(found / true / by - 1) < 0.05), "wrong")


def one(song, start, seconds):
    "Of a song, {form: (verdict, F of its beats)}; empty without annotated beats."
    if song.beats is None: return {}
    true = song.beats[:, 0] - start
    true = true[(true >= 0) & (true < seconds)]
    if len(true) < 5: return {}
    onset = analyse(render_score(excerpt(song.score, start, seconds))[:, : round(seconds * 44_100)]).onset
    tempi = {name: form(onset) for name, form in FORMS.items()}
    agree = lambda tempo: mir_eval.beat.f_measure(true, beat_frames(onset, tempo) / RATE)
    return {name: (verdict(t, 60 / np.median(np.diff(true))), agree(t)) for name, t in tempi.items()}


def main():
    parser = arguments(__doc__)
    parser.add_argument("--songs", default="800-859", help="first-last")
    parser.add_argument("--every", type=int, default=1, help="of so many songs one")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--start", type=float, default=30.0)
    args = parser.parse_args()
    songs, (first, last) = open_songs(), map(int, args.songs.split("-"))
    numbers = [n for n in range(first, last + 1, args.every) if n in songs]
    found = [one(songs[n], args.start, args.seconds) for n in tqdm(numbers)]
    found = [f for f in found if f]
    if len(found) < 2: raise InputError(f"--songs {args.songs}: give two songs or more with annotated beats")
    what = f"{len(found)} songs of {args.songs}, {args.seconds:g} s from {args.start:g} s each"
    print(about(songs.name, what))
    head("tempo by", *WORDS, "wrong", "beats F")
    for name in FORMS:
        words, agree = zip(*(f[name] for f in found))
        row(name, *(words.count(w) for w in (*WORDS, "wrong")), interval_text(bootstrap(agree)))


if __name__ == "__main__":
    main()
