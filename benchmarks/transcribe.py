"""Does `Msanii.transcribe` hear the notes? mir_eval on FluidSynth's rendering of held-out songs.

    POP909=<folder or zip> python benchmarks/transcribe.py [--model FOLDER] [--songs 800-859] [--seconds 30]
                                 [--start 30] [--other nmp.onnx] [--jobs 2] [--recordings FOLDER]

Each song is played as it is (piano), by other programs (drawn from the song's number), for a band, and as the
network renders it. A note is found if one of the same pitch begins within 50 ms; with offset: and ends within
50 ms or a fifth of its length. Velocity: mean distance of found notes; all at the median: what it would be
if each note had the median of the true velocities, which no listener knows. Beats: F within 70 ms of the
annotations of POP909. Another song's notes are the floor.

--other: basic-pitch (Bittner et al. 2022) as an independent ear: the file nmp.onnx of its wheel (`pip
download basic-pitch --no-deps`, then basic_pitch/saved_models/icassp_2022/nmp.onnx); it needs onnxruntime.
Its notes are read with its own thresholds (0.5 for onsets, 0.3 for frames) and with the onset threshold of
0.1 to 0.9 that does best on these very songs, which flatters it.

--recordings: a folder of recordings of real instruments or voices whose notes nobody has written down: how
many each listener hears, and how far the two agree. The tests of basic-pitch bring two, of singers (vocadito
10 and 14, Bittner et al. 2021: `pip download basic-pitch --no-deps --no-binary :all:`).

Means over songs, 95% bootstrap intervals."""

from pathlib import Path

import joblib
import mir_eval
import numpy as np
import torch
from tqdm.auto import tqdm

from msanii import Msanii
from msanii.arranging import arrange
from msanii.audio import SAMPLE_RATE, SUFFIXES, InputError, load_audio, resample
from msanii.corpus import change_programs
from msanii.distances import bootstrap
from msanii.pop909 import excerpt, open_songs
from msanii.pulse import RATE
from msanii.report import interval_text
from msanii.score import band_notes, render_score
from msanii.transcribe import find_beats
from msanii.transcriber import find_notes

from about import about, arguments, head, row


def sound(score, n):
    "FluidSynth's sound (2, n), in 16 bits."
    w = render_score(score)
    w = torch.nn.functional.pad(w[:, :n], (0, max(0, n - w.shape[1])))
    return (w / w.abs().max().clamp(min=1) * 32_767).round() / 32_767


def truth(score, seconds):
    "Its notes but drums (N, 7), those that begin in time."
    table = band_notes(score)
    return table[(table[:, 4] != 4) & (table[:, 0] < seconds) & (table[:, 2] >= 21) & (table[:, 2] <= 108)]


def measure(true, found):
    "How far found notes (M, 4 or more) agree with the true ones: a dict."
    nothing = dict(onset=0.0, precision=0.0, recall=0.0, offset=0.0, velocity=np.nan, alike=np.nan)
    if not len(true) or not len(found):
        return nothing
    spans = [np.c_[x[:, 0], np.maximum(x[:, 1], x[:, 0] + 0.02)] for x in (true, found)]
    hertz = [440 * 2 ** ((x[:, 2] - 69) / 12) for x in (true, found)]
    how = spans[0], hertz[0], spans[1], hertz[1]
    agree = mir_eval.transcription.precision_recall_f1_overlap
    precision, recall, f1, _ = agree(*how, offset_ratio=None)
    pairs = mir_eval.transcription.match_notes(*how, offset_ratio=None)
    struck = np.array([(true[i, 3], found[j, 3]) for i, j in pairs]) if pairs else np.full((1, 2), np.nan)
    velocity = np.abs(struck[:, 0] - struck[:, 1]).mean()
    alike = np.abs(struck[:, 0] - np.median(struck[:, 0])).mean()
    how = dict(onset=f1, precision=precision, recall=recall, offset=agree(*how)[2])
    return dict(how, velocity=velocity, alike=alike)


WINDOW, OVERLAP, HOP, FRAMES = 43_844, 30, 256, 172  # of basic-pitch, at 22,050 Hz


def posteriors(path, waveform):
    "What basic-pitch says of a waveform (2, n): onsets and notes, each (t, 88)."
    import onnxruntime

    how = onnxruntime.SessionOptions()
    how.intra_op_num_threads = how.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, how, providers=["CPUExecutionProvider"])
    x = resample(waveform.mean(0, keepdim=True), SAMPLE_RATE, 22_050)[0].numpy()
    step, lead = WINDOW - OVERLAP * HOP, OVERLAP * HOP // 2
    count = -(-len(x) // step)
    x = np.pad(x, (lead, count * step + WINDOW - len(x)))
    windows = np.stack([x[i * step :][:WINDOW] for i in range(count)])[..., None].astype(np.float32)
    names = [session.get_outputs()[i].name for i in (0, 1)]
    made = session.run(names, {session.get_inputs()[0].name: windows})
    inner = slice(OVERLAP // 2, FRAMES - OVERLAP // 2)
    return tuple(y[:, inner].reshape(-1, 88) for y in made)


def notes_of(one, two, threshold=0.5, frame=0.3, shortest=11, patience=11):
    "Notes (N, 4): an onset above its threshold, and frames above theirs but for short gaps."
    onset, note = (one, two)
    inner, rows = FRAMES - OVERLAP, []
    step = WINDOW - OVERLAP * HOP  # not a whole number of frames: windows overlap by a part of one
    seconds = lambda t: (t // inner * step + t % inner * HOP) / 22_050
    before, after = np.pad(onset, ((1, 0), (0, 0)))[:-1], np.pad(onset, ((0, 1), (0, 0)))[1:]
    for t, k in zip(*np.nonzero((onset > threshold) & (onset >= before) & (onset > after))):
        end, low = t + 1, 0
        while end < len(note) and low < patience:
            low = low + 1 if note[end, k] < frame else 0
            end += 1
        end -= low
        if end - t > shortest:
            rows.append((seconds(t), seconds(end), k + 21, round(127 * float(note[t:end, k].mean()))))
    return np.array(rows).reshape(-1, 4)


def beats_agree(p, song, start, seconds):
    "F of the beats heard, of a song's annotations; nan without any."
    if song.beats is None or len(song.beats) < 4:
        return np.nan
    true = song.beats[:, 0] - start
    return mir_eval.beat.f_measure(true[(true >= 0) & (true < seconds)], find_beats(p)[0])


def one(number, other, args):
    "All rows of one song: {(sound, listener): measures}."
    torch.set_num_threads(1)
    m, songs = Msanii.from_pretrained(args.model, device="cpu"), open_songs()
    n, song = round(args.seconds * SAMPLE_RATE), songs[number]
    cut = lambda score: excerpt(score, args.start, args.seconds)
    scores = {
        "piano": cut(song.score),
        "other programs": cut(change_programs(song.score, number)),
        "band": cut(arrange(song, number)),
    }
    found, rows = {name: sound(score, n) for name, score in scores.items()}, {}
    scores["piano, rendered by the network"] = scores["piano"]
    made = m.render(scores["piano"], seed=number, progress=False)[:, :n]
    found["piano, rendered by the network"] = torch.nn.functional.pad(made, (0, n - made.shape[1]))
    for name, waveform in found.items():
        p, true = m.hear(waveform).numpy(), truth(scores[name], args.seconds)
        table = find_notes(p)
        rows[name, "msanii"] = measure(true, table[table[:, 4] == 0])
        if name == "piano":
            rows[name, "msanii"]["beats"] = beats_agree(p, song, args.start, args.seconds)
            rows[name, "another song's notes (floor)"] = measure(
                true, truth(cut(songs[other].score), args.seconds)
            )
        if args.other:
            heard = posteriors(args.other, waveform)
            rows[name, "basic-pitch"] = measure(true, notes_of(*heard))
            for t in range(1, 10):
                rows[name, f"basic-pitch, {t / 10}"] = measure(true, notes_of(*heard, threshold=t / 10))
    return rows


def recordings(folder, m, other):
    "The table of real recordings."
    print()
    head("recording", "seconds", "notes heard by msanii", "by basic-pitch", "agreement of the two, onset F1")
    for path in sorted(p for p in Path(folder).rglob("*") if p.suffix in SUFFIXES):
        waveform = load_audio(path)
        table = find_notes(m.hear(waveform).numpy())
        theirs = notes_of(*posteriors(other, waveform))
        agree = measure(theirs, table[table[:, 4] == 0])["onset"]
        row(path.stem, f"{waveform.shape[1] / SAMPLE_RATE:.1f}", len(table), len(theirs), f"{agree:.2f}")


def main():
    parser = arguments(__doc__)
    parser.add_argument("--model", help="folder or Hugging Face Hub id; the weights in the package otherwise")
    parser.add_argument("--songs", default="800-859", help="first-last")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--start", type=float, default=30.0)
    parser.add_argument("--other", help="nmp.onnx of basic-pitch")
    parser.add_argument("--jobs", type=int, default=-1)
    parser.add_argument("--recordings", help="a folder of recordings without scores; needs --other")
    args = parser.parse_args()
    songs, (first, last) = open_songs(), map(int, args.songs.split("-"))
    numbers = [n for n in range(first, last + 1) if n in songs]
    if len(numbers) < 2:
        raise InputError(f"--songs {args.songs}: give two songs or more of {songs.name}")
    pairs = [(n, numbers[(i + 1) % len(numbers)]) for i, n in enumerate(numbers)]
    work = joblib.Parallel(args.jobs, return_as="generator")(joblib.delayed(one)(*p, args) for p in pairs)
    found = list(tqdm(work, total=len(pairs)))
    print(
        about(
            songs.name, f"songs {numbers[0]} to {numbers[-1]}, {args.seconds:g} s from {args.start:g} s each"
        )
    )
    columns = dict(
        onset="onset F1",
        precision="precision",
        recall="recall",
        offset="with offset",
        velocity="velocity off",
        alike="all at the median",
        beats="beats F",
    )
    head("sound", "heard by", *columns.values())
    names = list(dict.fromkeys(key for f in found for key in f))
    best = {}
    for sound_, who in names:
        if who.startswith("basic-pitch, "):
            mean = np.mean([f[sound_, who]["onset"] for f in found])
            best[sound_] = max(best.get(sound_, (0, "")), (mean, who))
    for sound_, who in names:
        if who.startswith("basic-pitch, ") and best[sound_][1] != who:
            continue
        values = {c: [f[sound_, who].get(c, np.nan) for f in found if (sound_, who) in f] for c in columns}
        finite = {c: [v for v in vs if np.isfinite(v)] for c, vs in values.items()}
        row(sound_, who, *(interval_text(bootstrap(v)) if v else "" for v in finite.values()))
    if args.recordings:
        recordings(args.recordings, Msanii.from_pretrained(args.model, device="cpu"), args.other)


if __name__ == "__main__":
    main()
