"""How well do the edits go on? Inpainting, outpainting, style transfer and interpolation, measured on songs
that nothing was trained on.

    python benchmarks/edits.py [--only inpaint outpaint style interpolate] [--songs 800-859] [--every 8]
                               [--holes 1 3 10 30] [--seconds 128] [--steps 20] [--repaint 50] [--jump 5]
                               [--resamplings 3] [--model FOLDER] [--jobs 2] [--out outputs/edits]

Songs of POP909 (the environment variable POP909; composed songs without it), every so many, played by
FluidSynth. Each result is a small file under --out, in a folder named after all that it depends on (weights,
code, settings), so that an interrupted run goes on where it was. A song takes about four and a half minutes
of one thread (measured on the weights of the package), so that the default, eight songs, takes 18 on two
quiet cores, and --every 10 takes 13. RePaint as in its paper: --repaint 1910 --jump 10 --resamplings 10, and
hours. Means over songs, 95% bootstrap intervals; seeds are song numbers; one thread a job. What the columns
mean stands above each table."""
import functools
import json
import math
import os
import time
from pathlib import Path
from types import SimpleNamespace

import joblib
import mir_eval
import numpy as np
import torch
from torch.nn import functional as F
from tqdm.auto import tqdm

from msanii import Msanii
from msanii.audio import SAMPLE_RATE, InputError, replacing
from msanii.distances import bootstrap
from msanii.long import encode_long, familiar_gain, splice
from msanii.measures import (RATE, SILENT, analyse, continuity, edit_continuity, onset_times, pitch_classes,
                             pulse)
from msanii.pop909 import Composed, excerpt, open_songs
from msanii.score import render_score
from msanii.seams import join
from msanii.through import best_lag
from msanii.transcriber import PLACES as ROWS
from msanii.walk import Windowed, window_frames

from about import about, arguments, commit, head, key, row

FADE = 0.05                                    # seconds, the package's own crossfade, for the baselines too
HOLE = 60.0                                    # seconds after the song's first note, where all holes begin
PIECE = (68.0, 84.0)                           # what is continued: both sides leave as much as is compared
CLIP = (40.0, 51.5)                            # transferred and interpolated: one window of the network
PLACES = (0, 10, 30, 60, 120)                  # seconds from the joint
STRENGTHS = (0, 0.1, 0.3, 0.5, 0.7, 0.9, 1)    # 0.1, 0.5 and 0.9 are the paper's
RATIOS = (0, 0.1, 0.3, 0.5, 0.7, 0.9, 1)
PASSES = 0                                     # of the network over all that it is given at once, so far


# Songs

def all_songs(): return open_songs() if os.environ.get("POP909") else Composed(seconds=160.0)


@functools.lru_cache(4)
def song(number):
    """A song from its first note on: number, score, waveform (2, n), and its beats' times (s), carried on at
    its tempo beyond both ends; beats in a bar."""
    one = all_songs()[number]
    if one.beats is None or len(one.beats) < 8:
        raise InputError(f"song {number} has no beats, on which the baselines and measures rest: "
                         "give POP909, or nothing for composed songs")
    first = min(note.start for i in one.score.instruments for note in i.notes)
    score = excerpt(one.score, first, one.score.get_end_time() - first)
    sound, times = render_score(score), one.beats[:, 0] - first
    gap, more = np.median(np.diff(times)), np.arange(1, 600)
    beats = np.concatenate([times[0] - gap * more[::-1], times, times[-1] + gap * more])
    bars = np.flatnonzero(one.beats[:, 2] == 1)
    bar = int(np.median(np.diff(bars))) if len(bars) > 1 else 4
    return SimpleNamespace(number=number, score=score, sound=sound / sound.abs().max().clamp(min=1), bar=bar,
                           beats=beats)


def beat_at(s, t): return np.interp(t, s.beats, np.arange(len(s.beats)))
def time_of(s, beat): return np.interp(beat, np.arange(len(s.beats)), s.beats)
def cut(s, start, end): return s.sound[:, round(start * SAMPLE_RATE):round(end * SAMPLE_RATE)]


# The model, and what it costs

@functools.lru_cache(1)
def model(source):
    "The model on one thread, its passes counted."
    torch.set_num_threads(1)
    call = Windowed.__call__
    def counted(self, *args):
        global PASSES
        PASSES += 1
        return call(self, *args)
    Windowed.__call__ = counted
    return Msanii.from_pretrained(source, device="cpu")


def timed(make):
    "What make() returns, and how many passes and seconds it took."
    passes, began = PASSES, time.perf_counter()
    made = make()
    return made, dict(passes=PASSES - passes, seconds=time.perf_counter() - began)


# Measures

def cosine(x, y): return float(x @ y / max(np.linalg.norm(x) * np.linalg.norm(y), 1e-9))


def hear(x):
    "`analyse`, with no chroma where there is silence: its bins reach far, and hear what is before and after."
    a = analyse(x)
    return a._replace(chroma=a.chroma * (a.level > SILENT))


def classes(chroma): return pitch_classes(chroma) if chroma.max() > 0 else np.zeros(12)


def chroma_frames(a, b):
    "Mean cosine of the chroma frames of two analyses, where b sounds."
    x, y, on = a.chroma, b.chroma, b.level > SILENT
    cosines = (x * y).sum(0) / (np.linalg.norm(x, axis=0) * np.linalg.norm(y, axis=0) + 1e-9)
    return float(cosines[on].mean()) if on.any() else math.nan


def onset_f1(found, true):
    if not len(found) or not len(true): return 0.0 if len(found) or len(true) else math.nan
    return float(mir_eval.onset.f_measure(true, found, window=0.05)[0])


def likeness(x, y):
    "Correlation of two mels (1, c, f, t), each bin's mean over time taken out."
    t = min(x.shape[-1], y.shape[-1])
    x, y = (z[..., :t] - z[..., :t].mean(-1, keepdim=True) for z in (x, y))
    return ((x * y).sum() / (x.norm() * y.norm()).clamp(min=1e-9)).item()


def arrow(onset, beats):
    """How strongly, and where in the beat and the half beat, notes begin: complex (2,), of lengths from 0
    (anywhere) to 1 (all in one place)."""
    turns = np.exp(2j * np.pi * np.outer((1, 2), beats))
    return turns @ onset / max(onset.sum(), 1e-9)


def power(x): return 10 * math.log10(x.square().mean().item() + 1e-6)  # silence is 60 dB below full scale


def seams(x, a, b, keep):
    """Where the new samples from a to b of x (2, n) meet the song (at one end or at both): mean step in level
    (dB, over 0.4 s), and, for each, the peak of the difference between samples there over that in the 4 s of
    the song next to a and b. keep: (n,), what is the song's own."""
    steps, peaks, d, kept = [], [], x.diff(dim=-1).abs().amax(0), keep[1:] & keep[:-1]
    w, inner, outer, far = (round(seconds * SAMPLE_RATE) for seconds in (0.4, 0.005, FADE + 0.005, 4))
    around = torch.zeros_like(kept)
    around[max(0, a - far):max(0, a - outer)] = around[b + outer:b + far] = True
    song = d[around & kept].max().clamp(min=1e-6)
    ends = ((a, slice(a - outer, a + inner), slice(a, a + w), slice(a - w, a)),
            (b, slice(b - inner, b + outer), slice(b - w, b), slice(b, b + w)))
    for i, near, inside, outside in ends:
        if not 0 < i < x.shape[-1]: continue
        steps.append(abs(power(x[:, inside]) - power(x[:, outside])))
        peaks.append((d[near].max() / song).item())
    return dict(step=float(np.mean(steps)), click=float(np.mean(peaks)),
                clicks=float(np.mean([p > 1 for p in peaks])))


# Inpainting

def repeated(s, x, start, a, b):
    """x (2, n), which begins `start` s into the song, its hole from a to b filled with the bars before it, on
    the beat: as few as are long enough."""
    at, more = start + a / SAMPLE_RATE, (b - a) / SAMPLE_RATE + FADE
    count = next(k for k in range(s.bar, 10_000, s.bar) if at - time_of(s, beat_at(s, at) - k) >= more)
    shift = round((at - time_of(s, beat_at(s, at) - count)) * SAMPLE_RATE)
    return x.roll(shift, -1)  # wraps only where nothing is taken from


def sound_at_the_lag(m, x, a, b):
    """x (2, n), its hole from a to b filled with its own sound from where it is most like what is around the
    hole: the transcriber hears x with the hole silenced, as it does for the score's way, and `best_lag` finds
    the lag. No note is written or played. Silence in the hole where no lag is found."""
    i, j, left = round(a / 1024), round(b / 1024), x.clone()
    left[:, a:b] = 0
    struck = m.hear(left)[ROWS["struck"]].numpy()
    struck[:, i:j + 1] = 0
    lag, _ = best_lag(struck, i, j)
    if lag is None: return torch.zeros_like(x)
    there = torch.arange(x.shape[-1]) - 1024 * lag  # beyond both ends only where nothing is taken from
    return left[:, there.clamp(0, x.shape[-1] - 1)]


def judge_beat(made, song, beats, inside, outside):
    """How strongly notes begin inside at the place in the beat where they do outside: at most 1.

    made, song: analyses, of which `beats` are the frames' places."""
    here, there = arrow(made.onset[inside], beats[inside]), arrow(song.onset[outside], beats[outside])
    return float(np.mean((here * there.conj()).real / np.abs(there).clip(min=1e-9)))


def judge_seams(x, true, lo, hi, a, b, nothing):
    """Measures of the seams at a and b of x (2, n), heard from lo to hi, and of what lies outside of them.

    nothing: whether the hole is silent, which keeps no time, neither well nor badly."""
    rate, fade = SAMPLE_RATE, round(FADE * SAMPLE_RATE)
    names, breaks = dict(tempo="tempo_step", shift="beat_shift", spectrum="spectrum_step"), {}
    if not nothing: breaks = edit_continuity(x[:, lo:hi], [((a - lo) / rate, (b - lo) / rate)])
    kept = torch.ones(x.shape[-1], dtype=torch.bool)
    kept[a:b] = False
    met = seams(x, a, b, kept)
    kept[a - fade:b + fade] = False
    return {**{name: breaks.get(long, math.nan) for name, long in names.items()}, **met,
            "outside": (x - true)[:, kept].abs().max().item()}


def judge_hole(m, x, true, s, start, a, b):
    """All measures of a filled hole from sample a to b of x (2, n), which begins `start` s into the song;
    true: the song."""
    rate, around = SAMPLE_RATE, 12 * SAMPLE_RATE
    lo, hi = max(0, a - around) // 1024 * 1024, min(x.shape[-1], b + around)
    made, song = hear(x[:, lo:hi]), hear(true[:, lo:hi])
    i, j, near = -(-(a - lo) // 1024), (b - lo) // 1024, round(6 * RATE)
    inside, outside = slice(i, j), np.r_[max(0, i - near):i, j:min(j + near, len(song.level))]
    beats = beat_at(s, start + lo / rate + np.arange(len(song.level)) / RATE)
    times = np.array([onset_times(z.onset) for z in (made, song)], dtype=object)
    nothing = np.median(made.level[inside]) < SILENT
    mels = [m.encode(z[None, :, lo:hi])[..., inside] for z in (x, true)]
    return dict(chroma_cut=chroma_frames(made.part(i, j), song.part(i, j)),
                chroma_around=cosine(classes(made.chroma[:, inside]), classes(song.chroma[:, outside])),
                onset_cut=onset_f1(*(t[(t >= i / RATE) & (t < j / RATE)] for t in times)),
                mel=(mels[0] - mels[1]).abs().mean().item(),
                beat=math.nan if nothing else judge_beat(made, song, beats, inside, outside),
                **judge_seams(x, true, lo, hi, a, b, nothing))


def through_the_mel(m, true, keep, a, b, seed):
    "The song with its own mel from a to b, heard through the vocoder: no network could fill the hole better."
    rate, made = SAMPLE_RATE, true.clone()
    gain, frames = familiar_gain(true), window_frames(m)
    here = slice((a - 12 * rate) // 1024 * 1024, b + 12 * rate)
    x = encode_long(m, gain * true[:, here], frames).clamp(-1, 1)
    made[:, here] = join(m, x, true[:, here], keep[here], seed, frames, round(FADE * rate), gain)
    return made


def fillings(m, s, true, start, a, b, args):
    "{method: function that fills the hole from sample a to b of the song (2, n)}."
    rate = SAMPLE_RATE
    span, score = [(a / rate, b / rate)], excerpt(s.score, start, true.shape[-1] / rate)
    keep = torch.ones(true.shape[-1], dtype=torch.bool)
    keep[a:b] = False
    paste = lambda new: splice(true, new, keep, round(FADE * rate))
    fill = lambda *how, **more: m.inpaint(true, span, *how, seed=s.number, fade=FADE, progress=False, **more)
    repaint = dict(steps=args.repaint, jump=args.jump, resamplings=args.resamplings)
    return {"the song itself": lambda: true,
            "its mel, through the vocoder (ceiling)": lambda: through_the_mel(m, true, keep, a, b, s.number),
            "silence": lambda: paste(torch.zeros_like(true)),
            "the bars before, repeated": lambda: paste(repeated(s, true, start, a, b)),
            "the sound at the lag, repeated": lambda: paste(sound_at_the_lag(m, true, a, b)),
            "RePaint": lambda: fill("repaint", through="sound", **repaint),
            "context network": lambda: fill("context", steps=args.steps, through="sound"),
            "context network and composed score": lambda: fill("context", steps=args.steps, through="score"),
            "context network and true score": lambda: fill("context", score=score, steps=args.steps)}


def inpaint(number, seconds, args):
    "One hole of one song: {method: measures}."
    m, s, start = model(args.model), song(number), HOLE - 50
    true = cut(s, start, HOLE + seconds + 20)
    a, b = round(50 * SAMPLE_RATE), round((50 + seconds) * SAMPLE_RATE)
    rows = {}
    for name, make in fillings(m, s, true, start, a, b, args).items():
        made, cost = timed(make)
        found = judge_hole(m, made, true, s, start, a, b)
        rows[name] = {**found, "passes": cost["passes"], "seconds": cost["seconds"] / seconds}
        if found["outside"] != 0:
            raise AssertionError(f"song {number}, {seconds} s, {name}: samples outside the hole and its "
                                 f"crossfade differ by {found['outside']:g}")
    return rows


# Outpainting

def place(x, joint, s, at, away, turn):
    """Six seconds of x (2, n), about `away` s beyond the joint at sample `joint`, which is second `at` of the
    song, against the last six of the song there. They are as many seconds away as are a whole number of
    beats, and put next to each other, as if there were nothing in between. turn: to hear them forwards."""
    w, beat = 6 * SAMPLE_RATE, beat_at(s, at)
    samples = round((time_of(s, beat + round(beat_at(s, at + away) - beat)) - at) * SAMPLE_RATE)
    before, after = x[:, joint - w:joint], x[:, joint + samples:joint + samples + w]
    breaks = continuity(turn(torch.cat([before, after], -1)), 6.0)
    found = dict(level=power(after) - power(before), spectrum=breaks["spectrum_step"],
                 harmony=breaks["harmony_step"], tempo=breaks["tempo_step"], shift=breaks["beat_shift"])
    met = dict(step=math.nan, click=math.nan)
    if away == 0: met = seams(x, joint, x.shape[-1], torch.arange(x.shape[-1]) < joint)
    return {**found, **met}


def backwards(s): return SimpleNamespace(beats=-s.beats[::-1], bar=s.bar)


def looped(piece, length, new):
    "The last `length` samples of a piece (2, n) again and again, `new` samples of them, with a crossfade."
    loop, w = piece[:, -length:].clone(), torch.linspace(0, 1, round(FADE * SAMPLE_RATE))
    loop[:, -len(w):] = (1 - w) * loop[:, -len(w):] + w * piece[:, -length - len(w):-length]
    whole = torch.cat([piece[:, :-length], loop.repeat(1, 1 + -(-new // length))], -1)
    return whole[:, :piece.shape[-1] + new]


def drifts(x, joint):
    """By minutes to the right of the joint: how far pieces of 6 s are from the song's last 12 s in level
    (mean, farthest) and in mean spectrum (dB)."""
    rate, reference = SAMPLE_RATE, x[:, max(0, joint - 12 * SAMPLE_RATE):joint]
    shape = lambda z: analyse(z).mel.mean(1)
    def apart(z):
        away = shape(z) - shape(reference)
        return float(np.abs(away - away.mean()).mean())
    pieces = [p for p in x[:, joint:].split(6 * rate, -1) if p.shape[-1] == 6 * rate]
    levels, spectra = [power(p) - power(reference) for p in pieces], [apart(p) for p in pieces]
    minutes = [slice(k, k + 10) for k in range(0, len(pieces) - 9, 10)]
    return [dict(level=np.mean(levels[k]), farthest=max(map(abs, levels[k])), spectrum=np.mean(spectra[k]))
            for k in minutes]


def continuations(made, piece, new, s, stranger, right):
    """{method: a piece (2, n) and what follows it}, turned around in time for the left side: s is the song,
    stranger another one, made {method: the piece outpainted by `new` samples}."""
    rate, turn = SAMPLE_RATE, turned(right)
    times, at = (s, PIECE[1]) if right else (backwards(s), -PIECE[0])
    beat = beat_at(times, at)
    back = lambda count: round((at - time_of(times, beat - count)) * rate)
    bars = max((back(k) for k in range(s.bar, 64, s.bar) if back(k) <= 12 * rate), default=back(s.bar))
    truth = s.sound[:, round(PIECE[0] * rate):] if right else s.sound[:, :round(PIECE[1] * rate)]
    return {"the song itself": turn(truth),
            "another song (floor)": torch.cat([piece, turn(stranger.sound)[:, 10 * rate:]], -1),
            "the last bars, repeated": looped(piece, bars, new), **made}


def turned(right): return lambda x: x if right else x.flip(-1)


def outpaint(number, side, other, args):
    """One side of one song: {method: {place: measures}}, and the drift by minutes. The left side is turned
    around in time, and back where it is listened to."""
    m, s, rate, right = model(args.model), song(number), SAMPLE_RATE, side == "right"
    piece, seconds, turn = cut(s, *PIECE), args.seconds if right else min(args.seconds, 68.0), turned(right)
    how = dict(steps=args.steps, seed=number, fade=FADE, progress=False)
    made, costs, joint, new = {}, {}, piece.shape[-1], round(seconds * rate)
    for through in ("sound", "score"):
        x, costs[through] = timed(lambda: m.outpaint(piece, seconds, side, through=through, **how))
        made[f"outpaint, through the {through}"] = x = turn(x)
        off = (x - F.pad(turn(piece), (0, new)))[:, :joint - round(FADE * rate)].abs().max().item()
        if off != 0: raise AssertionError(f"song {number}, {side}: the song's own samples differ by {off:g}")
    piece, cost = turn(piece), costs["score"]
    times, at = (s, PIECE[1]) if right else (backwards(s), -PIECE[0])
    def at_places(x):
        there = lambda p: joint + (p + 7) * rate <= x.shape[-1]
        judge = lambda p: place(x, joint, times, at, p, turn) if there(p) else None
        return {f"{p:g}": judge(p) for p in PLACES if p + 7 < seconds}
    sounds = continuations(made, piece, new, s, song(other), right)
    return dict(rows={name: at_places(x) for name, x in sounds.items()},
                drift=drifts(made["outpaint, through the score"], joint) if right else [],
                passes=cost["passes"],
                seconds=cost["seconds"] / seconds)


# Style transfer and interpolation

def alike(m, made, true, name=""):
    "Likeness of two waveforms (2, n), by mel, chroma frames and onsets."
    n = min(made.shape[-1], true.shape[-1])
    made, true = made[:, :n], true[:, :n]
    a, b = hear(made), hear(true)
    return {f"mel{name}": likeness(*(m.encode(familiar_gain(z) * z[None]) for z in (made, true))),
            f"chroma{name}": chroma_frames(a, b),
            f"onset{name}": onset_f1(onset_times(a.onset), onset_times(b.onset))}


def style(number, other, args):
    "One song at all strengths: {row: measures}."
    m, true, stranger = model(args.model), cut(song(number), *CLIP), cut(song(other), *CLIP)
    rows, how = {}, dict(steps=args.steps, seed=number, progress=False)
    rows["another song (floor)"] = {**alike(m, stranger, true), "passes": 0, "seconds": math.nan}
    for strength in STRENGTHS:
        made, cost = timed(lambda: m.style_transfer(true, strength, **how))
        cost["seconds"] /= CLIP[1] - CLIP[0]
        rows[f"strength {strength:g}"] = {**alike(m, made, true), **cost}
    how = dict(through="score", seed=number, progress=False)
    for strength in (0, 0.5):
        made, cost = timed(lambda: m.style_transfer(true, strength, **how))
        cost["seconds"] /= CLIP[1] - CLIP[0]
        rows[f"through the score, strength {strength:g}"] = {**alike(m, made, true), **cost}
    return rows


def interpolate(number, other, args):
    "Two songs, all ratios, both ways of mixing the noise: {row: measures}."
    m, a, b = model(args.model), cut(song(number), *CLIP), cut(song(other), *CLIP)
    how = dict(steps=args.steps, seed=number, progress=False)
    def judge(x):
        return {**alike(m, x, a, " to a"), **alike(m, x, b, " to b"), "pulse": pulse(analyse(x).onset)[1],
                "level": power(x) - (power(a) + power(b)) / 2}
    rows = {"the two, added": {**judge((a + b) / 2), "passes": 0}}
    for mix in ("linear", "spherical"):
        for ratio in RATIOS:
            made, cost = timed(lambda: m.interpolate(a, b, ratio, 0.5, mix, **how))
            rows[f"{mix}, ratio {ratio:g}"] = {**judge(made), "passes": cost["passes"]}
    for ratio in (0, 0.5, 1):
        made, cost = timed(lambda: m.interpolate(a, b, ratio, through="score", seed=number, progress=False))
        rows[f"through the score, ratio {ratio:g}"] = {**judge(made), "passes": cost["passes"]}
    return rows


# Runs and tables

ELSEWHERE = ("only", "songs", "every", "holes", "model", "jobs", "out")  # changes no result, or names it


def folder(args, songs):
    "Where the results of these weights, this code and these settings are kept."
    settings = {name: value for name, value in vars(args).items() if name not in ELSEWHERE}
    weights = model(args.model).fingerprint()
    return Path(args.out) / key(__file__, weights=weights, songs=songs.name, **settings)


def once(file, what, *how):
    "The result of what(*how), from its file if it is there."
    if file.exists(): return json.loads(file.read_text())
    result = dict(commit=commit(), found=json.loads(json.dumps(what(*how), default=float)))
    with replacing(file) as temporary: temporary.write_text(json.dumps(result))
    return result


def cell(rows, key, digits=2):
    value, low, high = bootstrap([math.nan if row is None else row[key] for row in rows])
    if math.isnan(value): return "–"
    alone = low == high or math.isnan(low)
    return f"{value:.{digits}f}" + ("" if alone else f" [{low:.{digits}f}, {high:.{digits}f}]")


def middle(rows, key):
    values = [row[key] for row in rows if row is not None and math.isfinite(row[key])]
    return f"{np.median(values):.3f}" if values else "–"


def cells(rows, *keys): return [cell(rows, key) for key in keys]
def mean(rows, key, digits=0): return f"{np.mean([row[key] for row in rows]):.{digits}f}"


def table(names, rows):
    head(*names)
    for r in rows: row(*r)
    print()


MUSIC = """### Inpainting: the music in the hole

Chroma: mean cosine of frames with what was cut; cosine of pitch-class histograms with the 6 s on either \
side. Onsets: F1 with what was cut, within 50 ms. Beat: how strongly notes begin inside at the place in the \
(half) beat where they do outside, by the song's annotated beats, at most 1. Tempo (octaves) and pulse \
(parts of one, up to 0.5): by how much they shift from the 6 s before a seam to those after it. Mel L1: with \
what was cut.

The bars before, repeated: the song's own sound from just before the hole, on its annotated beats. The sound \
at the lag, repeated: its own sound from where it is most like what is around the hole, found by ear as the \
score's way finds it (`best_lag` of what the transcriber hears of the song, the hole silenced), and pasted \
with the same crossfade; silence where no lag is found.
"""
SEAMS = """### Inpainting: seams and cost

Level step: over 0.4 s on either side. Difference: its peak from sample to sample at the seam over that in \
the song within 4 s of the hole, and the share of seams where it is above 1. Spectrum step: of mel bands, \
the level aside, over 3 s. Outside: largest difference of samples outside the hole and its crossfade of \
50 ms. Passes: of the network. s per s: seconds of computing per second of hole, one thread.
"""


def print_inpaint(found, args):
    groups = {h: [f for (hole, _), f in found.items() if hole == h] for h in args.holes}
    names = list(next(iter(found.values())))
    parts = [(h, name, [f[name] for f in groups[h]]) for h in groups for name in names]
    print(MUSIC)
    columns = ("chroma_cut", "chroma_around", "onset_cut", "beat", "tempo", "shift")
    table(["hole", "filled by", "chroma, cut", "chroma, around", "onsets, cut", "beat", "tempo shift",
           "pulse shift", "its median", "mel L1"],
          [[f"{h:g} s", name, *cells(part, *columns), middle(part, "shift"), cell(part, "mel", 3)]
           for h, name, part in parts])
    print(SEAMS)
    outside = lambda part: f"{max(r['outside'] for r in part):g}"
    table(["hole", "filled by", "level step (dB)", "difference", "above 1", "spectrum step (dB)", "outside",
           "passes", "s per s"],
          [[f"{h:g} s", name, *cells(part, "step", "click", "clicks", "spectrum"), outside(part),
            mean(part, "passes"), mean(part, "seconds", 2)] for h, name, part in parts])


CONTINUED = f"""### Outpainting

{PIECE[1] - PIECE[0]:g} s of a song continued. At the joint and so many seconds further (a whole number of \
beats), 6 s are compared with the song's 6 s at the joint, as if they followed them: level (dB, louder or \
softer), spectrum (dB), harmony (1 - cosine of pitch-class histograms), tempo (octaves), pulse (parts of \
one). At the joint itself also the level step and the difference between samples, as above.
"""


def print_outpaint(found, args):
    print(CONTINUED)
    columns = ("level", "spectrum", "harmony", "tempo", "shift", "step", "click")
    for side in ("right", "left"):
        group = [f for (where, _), f in found.items() if where == side]
        names, places = list(group[0]["rows"]), list(group[0]["rows"]["outpaint, through the score"])
        parts = [(place, name, [f["rows"][name][place] for f in group]) for place in places for name in names]
        table(["side", "from the joint", "continued by", "level", "spectrum", "harmony", "tempo", "pulse",
               "level step (dB)", "difference", "pulse, median"],
              [[side, f"{place} s", name, *cells(part, *columns), middle(part, "shift")]
               for place, name, part in parts])
        print(f"To the {side}: {mean(group, 'passes')} passes over windows, {mean(group, 'seconds', 2)} s of "
              "computing per second; the song's own samples were the same to the bit in each.\n")
    drifts = [f["drift"] for (where, _), f in found.items() if where == "right"]
    print("Drift to the right, in pieces of 6 s against the song's last 12 s.\n")
    table(["minute", "level (dB)", "farthest in a song (dB)", "farthest in any", "mean spectrum (dB)"],
          [[k, *cells(part, "level", "farthest"), f"{max(d['farthest'] for d in part):.2f}",
            cell(part, "spectrum")] for k, part in enumerate(zip(*drifts), 1)])


def print_style(found, args):
    print(f"### Style transfer\n\nLikeness of {CLIP[1] - CLIP[0]:g} s to what went in: correlation of mels "
          "(each bin's mean taken out), mean cosine of chroma frames, F1 of onsets. 0.1, 0.5 and 0.9 are the "
          "paper's t = 100, 500 and 900; 0 is mel and vocoder alone.\n")
    parts = {name: [f[name] for f in found.values()] for name in next(iter(found.values()))}
    table(["", "mel", "chroma", "onsets", "passes", "s per s"],
          [[name, *cells(part, "mel", "chroma", "onset"), mean(part, "passes"), cell(part, "seconds")]
           for name, part in parts.items()])
    falls = lambda values: all(a > b for a, b in zip(values, values[1:]))
    curves = [[f[f"strength {s:g}"]["mel"] for s in STRENGTHS] for f in found.values()]
    so = "falls" if falls(np.mean(curves, 0)) else "does NOT fall"
    print(f"The mean of the mel's likeness {so} from each strength to the next; "
          f"so it does in {sum(map(falls, curves))} of {len(curves)} songs.\n")


def print_interpolate(found, args):
    print("### Interpolation\n\nBetween a song and the next at strength 0.5: likeness to either, as above; "
          "clarity of the pulse (0 to 1); level against the middle of the two (dB).\n")
    parts = {name: [f[name] for f in found.values()] for name in next(iter(found.values()))}
    columns = [f"{what} to {song}" for what in ("mel", "chroma", "onset") for song in ("a", "b")]
    table(["", "mel to a", "mel to b", "chroma to a", "chroma to b", "onsets to a", "onsets to b", "pulse",
           "level", "passes"],
          [[name, *cells(part, *columns, "pulse", "level"), mean(part, "passes")]
           for name, part in parts.items()])


SECTIONS = dict(inpaint=print_inpaint, outpaint=print_outpaint, style=print_style,
                interpolate=print_interpolate)


def parse():
    parser = arguments(__doc__)
    parser.add_argument("--only", nargs="*", default=list(SECTIONS), choices=SECTIONS)
    parser.add_argument("--songs", default="800-859", help="of those that nothing was trained on")
    parser.add_argument("--every", type=int, default=8, help="of these songs, one in so many")
    parser.add_argument("--holes", type=float, nargs="*", default=[1, 3, 10, 30], help="seconds")
    parser.add_argument("--seconds", type=float, default=128.0, help="to the right; to the left 68 at most")
    parser.add_argument("--steps", type=int, help="network passes; the model knows a good number")
    parser.add_argument("--repaint", type=int, default=50, help="passes that RePaint may take at most")
    parser.add_argument("--jump", type=int, default=5)
    parser.add_argument("--resamplings", type=int, default=3)
    parser.add_argument("--model", help="folder or Hugging Face Hub id; the weights in the package otherwise")
    parser.add_argument("--jobs", type=int, default=-1)
    parser.add_argument("--out", default="outputs/edits", help="what an interrupted run finds again")
    return parser.parse_args()


def tasks(numbers, args):
    "What is to be measured: (section, file name, key, function, its arguments)."
    pairs, holes = list(zip(numbers, numbers[1:] + numbers[:1])), sorted(args.holes, reverse=True)
    work = [("inpaint", f"{h:g}-{n}", (h, n), inpaint, (n, h)) for h in holes for n in numbers]
    work += [("outpaint", f"{side}-{n}", (side, n), outpaint, (n, side, other)) for side in ("right", "left")
             for n, other in pairs]
    work += [("style", n, n, style, (n, other)) for n, other in pairs]
    work += [("interpolate", n, n, interpolate, (n, other)) for n, other in pairs]
    return [w for w in work if w[0] in args.only]


def main():
    args = parse()
    songs, began, numbers = all_songs(), time.perf_counter(), [int(n) for n in args.songs.split("-")]
    first, last = numbers[0], numbers[-1]
    numbers = [n for n in range(first, last + 1, args.every) if n in songs]
    if len(numbers) < 2:
        raise InputError(f"--songs {args.songs} --every {args.every}: give two songs or more of {songs.name}")
    where, work = folder(args, songs), tasks(numbers, args)
    calls = [joblib.delayed(once)(where / f"{section}-{name}.json", what, *how, args)
             for section, name, _, what, how in work]
    results = joblib.Parallel(n_jobs=args.jobs, return_as="generator")(calls)
    results = list(tqdm(results, total=len(calls), desc="results"))
    minutes, jobs = (time.perf_counter() - began) / 60, joblib.effective_n_jobs(args.jobs)
    m = model(args.model)
    print(about(f"{songs.name}, {len(numbers)} songs: {', '.join(map(str, numbers))}", threads=1,
                commits={r["commit"] for r in results}), end="; ")
    print(f"sampler {m.settings.sampler}, {args.steps or m.settings.steps} passes, RePaint with at most "
          f"{args.repaint}, jump {args.jump}, {args.resamplings} resamplings; {minutes:.1f} minutes for what "
          f"was not there already, {jobs} jobs\n")
    for section in args.only:
        SECTIONS[section]({k: r["found"] for (s, _, k, *_), r in zip(work, results) if s == section}, args)


if __name__ == "__main__":
    import edits  # under its own name, by which the other processes can find it
    edits.main()
