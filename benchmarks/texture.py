"""How much beating is to be drawn, and from which frequency on: Fréchet distances from real songs.

    POP909=<folder or zip> python benchmarks/texture.py [--songs 780-799] [--seconds 10] [--model FOLDER]

Every song's excerpt is rendered once and textured in each way, with the same draws; so is a piece that the
model composes for the song's number. Both sets are compared with the songs as FluidSynth plays them. Prints a
table (markdown). The songs are those kept for choosing."""
from unittest.mock import patch

import numpy as np
import torch

from msanii import Msanii, templates
from msanii.audio import SAMPLE_RATE
from msanii.distances import features, frechet_distance, standardise
from msanii.pop909 import excerpt, open_songs

from about import about, arguments, head, row
from report import fit, numbers, real

EVERYWHERE = (1.0, 2.0)  # Hz, below all bins
WAYS = {"none": (0.0, None), "0.8 everywhere": (0.8, EVERYWHERE), "1 everywhere": (1.0, EVERYWHERE),
        "1 from 300 to 1,000 Hz on": (1.0, (300, 1000)), "1 from 500 to 1,500 Hz on": (1.0, (500, 1500)),
        "1.25 from 500 to 1,500 Hz on": (1.25, (500, 1500))}


def played(m, score, seed, seconds):
    "{way: features} of a score."
    found = {}
    for way, (texture, rises) in WAYS.items():
        with patch.object(templates, "RISES", rises or templates.RISES):
            waveform = m.render(score, seed=seed, texture=texture, progress=False)
        found[way] = features(fit(waveform, round(seconds * SAMPLE_RATE)))
    return found


def far(a, b, family):
    "The Fréchet distance of two lists of features."
    return frechet_distance(*standardise(*([np.atleast_2d(x[family]) for x in found] for found in (a, b))))


def main(args):
    m, songs = Msanii.from_pretrained(args.model), open_songs()
    truth, sets = [], {}
    for number in numbers(args.songs):
        score, x = real(songs, number, args.start, args.seconds)
        truth.append(features(x))
        pieces = {"render": score}
        if m.best_way == "score":
            piece = m.compose(2 * args.start + args.seconds, seed=number, progress=False)
            pieces["composed"] = excerpt(piece, args.start, args.seconds)
        for kind, piece in pieces.items():
            for way, found in played(m, piece, number, args.seconds).items():
                sets.setdefault((kind, way), []).append(found)
    families = list(truth[0])
    print(about(f"weights {m.fingerprint()[:12]}", songs.name, f"songs {args.songs}",
                f"{args.seconds:g} s from {args.start:g} s each"), end="\n\n")
    head("", "texture", *families)
    for (kind, way), found in sets.items(): row(kind, way, *(f"{far(found, truth, f):.2f}" for f in families))


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--model")
    parser.add_argument("--songs", default="780-799")
    parser.add_argument("--start", type=float, default=30.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    torch.set_grad_enabled(False)
    main(parser.parse_args())
