"""Does the network play the score? `Msanii.render` against FluidSynth's own rendering of the same score.

    python benchmarks/render.py [--model FOLDER] [--songs 800-859] [--seconds 10] [--steps 2 20]
                                [--tables piano band obey stems] [--jobs 2]

Each song of POP909 (the environment variable POP909; composed songs without it) gives an excerpt of its
score. What is called true is FluidSynth's sound of it, in 16 bits, as in a file. Beside `render` at several
numbers of network passes stand: the true sound through mel and vocoder alone (the ceiling), the first guess
(`steps=0`), the excerpt of another song and white noise (floors), and `render` of the other song's score.

piano: chroma is the mean cosine similarity of chroma frames (librosa's chroma_cqt, frames in which the true
one is silent left out), onset F1 that of detected onsets (librosa's, within 50 ms, by mir_eval), note F1 that
of the notes that the project's own template transcriber finds against those of the score, mel L1 the mean
distance of the scaled mels, s per s the computing per second of stereo on one core.

band: the same songs arranged for a band by their numbers (`arrange`), and drum onsets: those found above
5 kHz and below 120 Hz, F1 against those found in the true sound.

families: a classifier (logistic regression on mean, deviation and change from frame to frame of each mel
bin) that was trained on true renderings of single voices of songs 1 to 300 names the General MIDI family of
held-out ones.

obey: a rest of 3 s, velocities 40 and 100, a key held for 5 s alone. stems: how far each role's stem is from
FluidSynth's own rendering of that role, mel L1, and how far the stems' sum is from the mix.

Means over songs, 95% bootstrap intervals; seeds are song numbers."""

import time
from copy import deepcopy

import joblib
import librosa
import mir_eval
import numpy as np
import pretty_midi
import torch
from tqdm.auto import tqdm

from msanii import Msanii
from msanii.arranging import arrange
from msanii.audio import SAMPLE_RATE, InputError
from msanii.distances import bootstrap
from msanii.measures import score_agreement
from msanii.pop909 import excerpt, open_songs
from msanii.score import BAND, band_notes, render_score

from about import about, arguments, head, row


def sound(score, n=None):
    "FluidSynth's sound of a score (2, n), in 16 bits."
    w = render_score(score)
    if n:
        w = torch.nn.functional.pad(w[:, :n], (0, max(0, n - w.shape[1])))
    return (w / w.abs().max().clamp(min=1) * 32_767).round() / 32_767


def cut(score, start, seconds):
    "An excerpt from so many seconds after the first note."
    score = excerpt(score, min(n.start for i in score.instruments for n in i.notes) + start, seconds)
    if not any(i.notes for i in score.instruments):
        raise InputError("a song has no notes there")
    return score


def onsets(y):
    return librosa.onset.onset_detect(y=y, sr=SAMPLE_RATE, units="time")


def hearing(w):
    "Chroma frames, onset times and energy of a waveform (2, n)."
    mono = w.mean(0).numpy()
    return (
        librosa.feature.chroma_cqt(y=mono, sr=SAMPLE_RATE, hop_length=1024, tuning=0.0),
        onsets(mono),
        librosa.feature.rms(y=mono, frame_length=2048, hop_length=1024)[0],
    )


def agreement(a, b):
    return mir_eval.onset.f_measure(np.asarray(a), np.asarray(b), window=0.05)[0]


def compare(made, true, heard, m):
    "Chroma similarity, onset F1 and mel L1 of two waveforms (2, n); heard: of the true one."
    chroma, found, _ = hearing(made)
    wanted, true_onsets, loud = heard
    t = min(chroma.shape[1], wanted.shape[1], len(loud))
    a, b, on = chroma[:, :t], wanted[:, :t], loud[:t] > 1e-3 * loud.max()
    cosine = (a * b).sum(0) / (np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0) + 1e-9)
    return dict(
        chroma=float(cosine[on].mean()),
        onset=agreement(true_onsets, found),
        mel=(m.encode(made[None]) - m.encode(true[None])).abs().mean().item(),
    )


def drums(w):
    "Onsets above 5 kHz and below 120 Hz."
    spec = np.abs(librosa.stft(w.mean(0).numpy(), n_fft=2048, hop_length=512))
    hz, found = librosa.fft_frequencies(sr=SAMPLE_RATE, n_fft=2048), []
    for band in (hz > 5000, hz < 120):
        level = librosa.amplitude_to_db(spec[band], ref=np.max(spec[band]) + 1e-9)
        rise = np.maximum(np.diff(level, axis=1, prepend=level[:, :1]), 0).mean(0)
        found.append(
            librosa.onset.onset_detect(onset_envelope=rise, sr=SAMPLE_RATE, hop_length=512, units="time")
        )
    return found


def rows_of(m, score, wrong, number, args, more):
    "All sounds of one score: {row: measures}. more(sound, true): further ones."
    n = round(args.seconds * SAMPLE_RATE)
    true, stranger, rows = sound(score, n), sound(wrong, n), {}
    heard = hearing(true)

    def add(name, make):
        began = time.perf_counter()
        made = torch.nn.functional.pad(make(), (0, n))[:, :n]
        seconds = (time.perf_counter() - began) / args.seconds
        rows[name] = dict(seconds=seconds, **compare(made, true, heard, m), **more(made, true, score))

    render = lambda score, steps: m.render(score, seed=number, steps=steps, progress=False)
    noise = torch.randn(true.shape, generator=torch.Generator().manual_seed(number)) * true.std()
    add("true, through mel and vocoder (ceiling)", lambda: m.reconstruct(true, seed=number))
    add("the first guess, no network", lambda: render(score, 0))
    for steps in args.steps:
        add(f"render, {steps} passes", lambda: render(score, steps))
    add(f"render of another song's score, {args.steps[0]} passes", lambda: render(wrong, args.steps[0]))
    add("another song (floor)", lambda: stranger)
    add("white noise (floor)", lambda: noise.clamp(-1, 1))
    return rows


def piano(m, songs, number, other, args):
    "Solo piano, as POP909 is written."
    note = lambda made, true, score: dict(note=score_agreement(made, score)["note_f1"])
    scores = [cut(songs[k].score, args.start, args.seconds) for k in (number, other)]
    return rows_of(m, *scores, number, args, note)


def band(m, songs, number, other, args):
    "The same songs for a band."

    def struck(made, true, score):
        pairs = [(t, f) for t, f in zip(drums(true), drums(made)) if len(t)]
        return dict(drums=float(np.mean([agreement(t, f) for t, f in pairs])) if pairs else np.nan)

    scores = [cut(arrange(songs[k], k), args.start, args.seconds) for k in (number, other)]
    return rows_of(m, *scores, number, args, struck)


def stems(m, songs, number, other, args):
    "Each role's stem against FluidSynth's rendering of that role alone."
    score, n = cut(arrange(songs[number], number), args.start, args.seconds), round(
        args.seconds * SAMPLE_RATE
    )
    how = dict(seed=number, steps=args.steps[0], progress=False, tail=0.0)
    mix, found, rows = m.render(score, **how), m.render(score, stems=True, **how), {}
    table = band_notes(score)
    turned = max(1.0, render_score(score).abs().max().item())
    for name, stem in found.items():
        alone = deepcopy(score)
        alone.instruments = [i for i in score.instruments if i.notes and role(i) == name]
        true = render_score(alone)[:, : stem.shape[1]] / turned
        true = torch.nn.functional.pad(true, (0, stem.shape[1] - true.shape[1]))
        far = lambda w: (m.encode(w[None]) - m.encode(true[None])).abs().mean().item()
        rows[name] = dict(
            stem=far(stem),
            mix=far(mix),
            silence=far(torch.zeros_like(mix)),
            sum=(sum(found.values()) - mix).abs().max().item(),
        )
    return rows


def role(instrument):
    "The name of a track's role."
    alone = pretty_midi.PrettyMIDI()
    alone.instruments = [instrument]
    return BAND[int(band_notes(alone)[0, 4])]


def decibels(w, start, end):
    part = w[:, round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)]
    return 10 * np.log10(part.square().mean().item() + 1e-12)


def players(m, args, seed):
    "The sounds that are asked to obey."
    found = {
        "FluidSynth": lambda s: sound(s),
        "true, through mel and vocoder": lambda s: m.reconstruct(sound(s)),
    }
    for steps in (0, *args.steps):
        name = f"render, {steps} passes" if steps else "the first guess, no network"
        found[name] = lambda s, steps=steps: m.render(s, seed=seed, steps=steps, progress=False)
    return found


def obey(m, songs, number, other, args):
    "Rest, loudness, decay of one song's notes and one key."
    score, rows = cut(songs[number].score, args.start, 9), {}
    rested, held = deepcopy(score), pretty_midi.PrettyMIDI()
    for i in rested.instruments:
        i.control_changes = []  # no pedal that holds notes into the rest
        i.notes = [n for n in i.notes if not 3 <= n.start < 6]
        for n in i.notes:
            if n.start < 3:
                n.end = min(n.end, 3)
    held.instruments.append(pretty_midi.Instrument(0))
    held.instruments[0].notes.append(pretty_midi.Note(90, 36 + number % 49, 0.5, 5.5))
    true = frames(m, sound(held))
    for name, play in players(m, args, number).items():
        quiet, loud = (play(at_velocity(score, v)) for v in (40, 100))
        rest, key = play(rested), frames(m, play(held))
        t = min(len(true), len(key))
        heard = (true[:t] > true.max() - 60) & (np.arange(t) > 24) & (np.arange(t) < 230)
        rows[name] = dict(
            rest=decibels(rest, 3.5, 5.9) - decibels(rest, 1, 3),
            apart=decibels(loud, 0, 9) - decibels(quiet, 0, 9),
            decay=np.abs(key[:t] - true[:t])[heard].max(),
            rises=int((np.diff(key[:t])[26:230] > 6).sum()),
        )
    return rows


def frames(m, w):
    return 10 * torch.log10(m.mel.inverse(m.encode(w[None]))[0].square().sum((0, 1)) + 1e-6).numpy()


def at_velocity(score, v):
    score = deepcopy(score)
    for i in score.instruments:
        for note in i.notes:
            note.velocity = v
    return score


def voice(songs, number, program):
    "Eight seconds of a song's melody by a program."
    score = deepcopy(songs[number].score)
    tracks = [i for i in score.instruments if i.notes]
    score.instruments = [tracks[0]]
    tracks[0].program, tracks[0].control_changes = program, []
    return cut(score, 0, 8)


def features(m, w):
    x = m.encode(w[None])[0].mean(0)
    x = x[:, x.amax(0) > -0.9]
    return torch.cat([x.mean(1), x.std(1), x.diff(dim=1).abs().mean(1)]).numpy()


def families(m, songs, args, numbers):
    "How often the family of a single voice is named rightly: {row: share}."
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    programs = [p for p in range(112)]
    known = [k for k in range(1, 301) if k in songs]
    work = lambda k, p: (features(m, sound(voice(songs, k, p))), p // 8)
    pairs = [(known[i % len(known)], programs[i % 112]) for i in range(672)]
    seen = joblib.Parallel(args.jobs)(joblib.delayed(work)(k, p) for k, p in pairs)
    x, y = map(np.array, zip(*seen))
    judge = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, C=0.05)).fit(x, y)
    tests = [(numbers[i % len(numbers)], programs[(i * 37) % 112]) for i in range(112)]

    def heard(k, p):
        score = voice(songs, k, p)
        return {name: features(m, play(score)) for name, play in players(m, args, k).items()}

    found = joblib.Parallel(args.jobs)(joblib.delayed(heard)(k, p) for k, p in tests)
    right = np.array([p // 8 for _, p in tests])
    return {name: judge.predict(np.array([f[name] for f in found])) == right for name in found[0]}


TABLES = {"piano": piano, "band": band, "stems": stems, "obey": obey}
COLUMNS = {
    "piano": dict(
        chroma="chroma similarity", onset="onset F1", note="note F1", mel="mel L1", seconds="s per s"
    ),
    "band": dict(
        chroma="chroma similarity", onset="onset F1", drums="drum onset F1", mel="mel L1", seconds="s per s"
    ),
    "stems": dict(
        stem="stem, mel L1", mix="mix in its place", silence="silence in its place", sum="sum less mix"
    ),
    "obey": dict(
        rest="rest of 3 s, dB",
        apart="velocity 100 against 40, dB",
        decay="held key, dB off",
        rises="new onsets",
    ),
}


def one(table, number, other, args):
    torch.set_num_threads(1)
    return TABLES[table](Msanii.from_pretrained(args.model, device="cpu"), open_songs(), number, other, args)


def cell(values, digits):
    values = [v for v in values if np.isfinite(v)]
    value, low, high = bootstrap(values)
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def parse():
    parser = arguments(__doc__)
    parser.add_argument("--model", help="folder or Hugging Face Hub id; the weights in the package otherwise")
    parser.add_argument("--songs", default="800-859")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--start", type=float, default=30.0)
    parser.add_argument("--steps", type=int, nargs="*", default=[2, 20])
    parser.add_argument("--tables", nargs="*", default=[*TABLES, "families"])
    parser.add_argument("--jobs", type=int, default=-1)
    return parser.parse_args()


def main():
    args = parse()
    songs, (first, last) = open_songs(), map(int, args.songs.split("-"))
    numbers = [n for n in range(first, last + 1) if n in songs]
    if len(numbers) < 2:
        raise InputError(f"--songs {args.songs}: give two songs or more of {songs.name}")
    print(about(songs.name, f"songs {numbers[0]} to {numbers[-1]}, {args.seconds:g} s each", threads=1))
    for table in args.tables:
        print(f"\n{table}\n")
        if table == "families":
            m = Msanii.from_pretrained(args.model, device="cpu")
            head("sound", "family named rightly")
            for name, right in families(m, songs, args, numbers).items():
                row(name, cell(right.astype(float), 3))
            continue
        pairs = [(n, numbers[(i + 1) % len(numbers)]) for i, n in enumerate(numbers)]
        work = joblib.Parallel(args.jobs, return_as="generator")(
            joblib.delayed(one)(table, *p, args) for p in pairs
        )
        found = list(tqdm(work, total=len(pairs), desc=table))
        head("role" if table == "stems" else "sound", *COLUMNS[table].values())
        for name in dict.fromkeys(name for f in found for name in f):
            cells = [[f[name][key] for f in found if name in f] for key in COLUMNS[table]]
            row(
                name,
                *(
                    cell(c, 6 if key == "sum" else 1 if table == "obey" else 3)
                    for key, c in zip(COLUMNS[table], cells)
                ),
            )


if __name__ == "__main__":
    main()
