"""Why is the family of a rendered instrument so hard to name? A look at the table of benchmarks/render.py.

    POP909=<folder or zip> python benchmarks/families.py [--model FOLDER] [--jobs 2]

Single voices of 8 s by 112 programs, songs 780 to 799, which are for choosing, as FluidSynth plays them and
as they are rendered from their first guess. Two judges name the family (logistic regression on each mel bin's
mean, deviation and change from frame to frame): one has learned from 672 true voices of songs 1 to 300, the
other also from half of them through mel and vocoder. Ways:

texture 0, 1.25, and at all frequencies: what `render` does, without texture, as it is, and not from 500 Hz
on;
with the true mean, deviation, change: the features as they are, but for one of the three groups, which is
that of FluidSynth's voice (no sound, a look at what the judge misses);
own texture: as much as is missing in the voices of each program, learned from 448 voices of songs 1 to 300,
for each mel bin, apart for bins 6 dB or more below the loudest of four on either side, where overtones meet;
near the peaks nothing is drawn below 500 Hz. For all programs alike: the mean.

Beside the judges: chroma similarity with FluidSynth's sound, mel L1, and the change over the true one's, of
every fourth voice. Prints a table (markdown)."""
import joblib
import librosa
import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from msanii import Msanii, templates
from msanii.audio import SAMPLE_RATE
from msanii.pop909 import open_songs
from msanii.score import band_notes
from msanii.templates import Templates

from about import about, arguments, head, row
from render import features, sound, voice

PROGRAMS = range(112)
EVERYWHERE = (1.0, 2.0)  # Hz, below all bins
FLUTTER = Templates.flutter


def off_peak(log):
    "Where a log-mel (2, 128, t) lies 6 dB or more below the loudest bin near it."
    return F.max_pool2d(log[None], (9, 1), 1, (4, 0))[0] - log > 0.7


def even(x): return F.avg_pool1d(F.pad(x.flatten(0, -2), (2, 2), mode="replicate"), 5, 1).view(x.shape)


def lacking(m, songs, number, program):
    "(sum, count), (2, 128) each, of the variance that a guess lacks near its peaks and off them."
    score = voice(songs, number, program)
    real = m.mel.inverse(m.encode(sound(score)[None]))[0].clamp(min=1e-7).log()
    table = band_notes(score)
    guess, causes = (f(table, real.shape[-1]) for f in (m.templates.guess, m.templates.causes))
    guess = m.templates.on_floor(guess, guess, causes).clamp(min=1e-7)
    audible, log = guess.amax((0, 1)) > 1e-3, guess.log()
    lacks = (real.diff().square() - log.diff().square()) / (2 - 2 * templates.STEADY)
    usual = torch.quantile(lacks.abs().transpose(0, 1).flatten(1), 0.85, dim=1)  # an onset is no beating
    use = (audible[1:] & audible[:-1]) & (lacks.abs() <= usual[:, None])
    parts = [(use & ~off_peak(log)[..., 1:]).float(), (use & off_peak(log)[..., 1:]).float()]
    return torch.stack([(lacks * p).sum((0, 2)) for p in parts]), torch.stack([p.sum((0, 2)) for p in parts])


def learned(m, songs, jobs):
    "Variances (113, 2, 128) by program, near peaks and off them; the last for all programs."
    work = lambda i: lacking(m, songs, i % 300 + 1, PROGRAMS[i % len(PROGRAMS)])
    found = joblib.Parallel(jobs)(joblib.delayed(work)(i) for i in range(448))
    total, count = torch.zeros(2, len(PROGRAMS), 2, 128)
    for i, (a, b) in enumerate(found):
        total[i % len(PROGRAMS)] += a
        count[i % len(PROGRAMS)] += b
    mean = (total.sum(0) / count.sum(0).clamp(min=1)).clamp(min=0)
    own = (total + 200 * mean) / (count + 200)  # a program of which little was heard is like the others
    return even(torch.cat([own, mean[None]]).clamp(0, 0.5))


def drawn(variance):
    "A `flutter` by these variances (2, 128)."
    def flutter(self, table, frames, start=0, hop=templates.HOP, causes=None):
        guess = self.guess(table, frames, start, hop)
        if causes is None: causes = self.causes(table, frames, start, hop)
        log = self.on_floor(guess, guess, causes).clamp(min=1e-7).log()
        near = variance[0, :, None] * templates.rising()
        return torch.where(off_peak(log), variance[1, :, None], near).sqrt()
    return flutter


def played(m, score, seed, texture, rises=templates.RISES, flutter=FLUTTER):
    before = templates.RISES
    templates.RISES, Templates.flutter = rises, flutter
    try: return m.render(score, steps=0, seed=seed, texture=texture, progress=False)
    finally: templates.RISES, Templates.flutter = before, FLUTTER


def apart(m, x, true):
    "Chroma similarity, mel L1, and change over the true one's."
    a, b = (librosa.feature.chroma_cqt(y=w.mean(0).numpy(), sr=SAMPLE_RATE, hop_length=1024, tuning=0.0)
            for w in (x, true))
    n = min(a.shape[1], b.shape[1])
    norms = np.linalg.norm(a[:, :n], axis=0) * np.linalg.norm(b[:, :n], axis=0)
    x, true = (m.encode(w[None])[0, ..., :n] for w in (x, true))
    change = x.diff().abs().mean() / true.diff().abs().mean()
    chroma = ((a[:, :n] * b[:, :n]).sum(0) / norms.clip(1e-9)).mean()
    return [chroma, (x - true).abs().mean().item(), change.item()]


def heard(m, songs, number, program, near, variances):
    "{way: (features, `apart` or None)} of one voice."
    score = voice(songs, number, program)
    true = sound(score)
    own, alike = drawn(variances[program]), drawn(variances[-1])
    ways = {
        "FluidSynth": true, "true, through mel and vocoder": m.reconstruct(true),
        "guess, texture 0": played(m, score, number, 0.0),
        "guess, texture 1.25 (as `render`)": played(m, score, number, 1.25),
        "guess, texture 1.25 at all frequencies": played(m, score, number, 1.25, EVERYWHERE),
        "guess, texture for all programs alike, off peaks too": played(m, score, number, 1.25, flutter=alike),
        "guess, own texture": played(m, score, number, 1.0, flutter=own),
        "guess, own texture, times 1.25": played(m, score, number, 1.25, flutter=own),
    }
    found = {way: (features(m, x), apart(m, x, true) if near else None) for way, x in ways.items()}
    parts = {"mean": slice(128), "deviation": slice(128, 256), "change": slice(256, None)}
    for name, part in parts.items():  # controls first: would any group of true features do?
        mixed = found["guess, texture 0"][0].copy()
        mixed[part] = found["FluidSynth"][0][part]
        found[f"guess, texture 0, with the true {name}"] = mixed, None
    return found


def main(args):
    torch.set_num_threads(1)
    m, songs = Msanii.from_pretrained(args.model), open_songs()
    fit = lambda x, y: make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, C=0.05)).fit(x, y)
    def lesson(i):
        true = sound(voice(songs, i % 300 + 1, PROGRAMS[i % 112]))
        return features(m, true), features(m, m.reconstruct(true)) if i % 2 == 0 else None
    parallel = joblib.Parallel(args.jobs)
    seen = parallel(joblib.delayed(lesson)(i) for i in range(672))
    family = np.array([i % 112 // 8 for i in range(672)])
    true, again = np.array([a for a, _ in seen]), np.array([b for _, b in seen if b is not None])
    judges = fit(true, family), fit(np.concatenate([true, again]), np.concatenate([family, family[::2]]))
    variances = learned(m, songs, args.jobs)
    tests = [(780 + i % 20, PROGRAMS[i * 37 % 112]) for i in range(112)]
    found = parallel(joblib.delayed(heard)(m, songs, k, p, i % 4 == 0, variances)
                     for i, (k, p) in enumerate(tests))
    right = np.array([p // 8 for _, p in tests])
    print(about(f"weights {m.fingerprint()[:12]}", songs.name, "songs 780-799"), end="\n\n")
    head("sound", "judge of true voices", "judge of both", "chroma", "mel L1", "change")
    for way in found[0]:
        x, near = np.array([f[way][0] for f in found]), [f[way][1] for f in found if f[way][1]]
        named = [f"{np.mean(judge.predict(x) == right):.3f}" for judge in judges]
        row(way, *named, *((f"{v:.3f}" for v in np.mean(near, 0)) if near else ("", "", "")))


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--model", help="folder of a model; the package's if left out")
    parser.add_argument("--jobs", type=int, default=1)
    main(parser.parse_args())
