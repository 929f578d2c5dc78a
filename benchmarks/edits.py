"""How well do the edits go on? Inpainting, outpainting, style transfer and interpolation, measured on songs
that nothing was trained on.

    python benchmarks/edits.py [--only inpaint outpaint style interpolate] [--songs 800-859] [--every 8] [--holes 1 3 10 30] [--seconds 128]
                               [--steps 20] [--repaint 50] [--jump 5] [--resamplings 3] [--model FOLDER] [--jobs 2] [--out outputs/edits]

Songs of POP909 (the environment variable POP909; composed songs without it), every so many, played by
FluidSynth. Each result is a small file under --out, in a folder named after all that it depends on (weights,
code, settings), so that an interrupted run goes on where it was. A song takes about four and a half minutes
of one thread (measured on the weights of the package), so that the default, eight songs, takes 18 on two
quiet cores, and --every 10 takes 13. RePaint as in its paper: --repaint 1910 --jump 10 --resamplings 10, and
hours. Means over songs, 95% bootstrap intervals; seeds are song numbers; one thread a job. What the columns
mean stands above each table."""
import argparse, functools, hashlib, json, math, os, subprocess, time
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
from msanii.evaluation import RATE, SILENT, analyse, bootstrap, continuity, edit_continuity, onset_times, pitch_classes, pulse
from msanii.inpainting import join
from msanii.pipeline import Windowed, window_frames
from msanii.pop909 import Composed, excerpt, open_songs
from msanii.score import render_score
from msanii.style_transfer import encode_long, familiar_gain, splice

FADE = 0.05                                    # seconds, the package's own crossfade, for the baselines too
HOLE = 60.0                                    # seconds after the song's first note, where all holes begin
# what is continued: as much of the shortest song is left on both sides as is compared
PIECE = (68.0, 84.0)
# what is transferred and interpolated: one window of the network
CLIP = (40.0, 51.5)
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
        raise InputError(f"song {number} has no beats, on which the baselines and measures rest: give POP909, or nothing for composed songs")
    first = min(note.start for i in one.score.instruments for note in i.notes)
    score = excerpt(one.score, first, one.score.get_end_time() - first)
    sound, times = render_score(score), one.beats[:, 0] - first
    gap, more = np.median(np.diff(times)), np.arange(1, 600)
    bars = np.flatnonzero(one.beats[:, 2] == 1)
    return SimpleNamespace(number=number, score=score, sound=sound / sound.abs().max().clamp(min=1),
                           bar=int(np.median(np.diff(bars))) if len(bars) > 1 else 4,
                           beats=np.concatenate([times[0] - gap * more[::-1], times, times[-1] + gap * more]))


def beat_at(s, t): return np.interp(t, s.beats, np.arange(len(s.beats)))
def time_of(s, beat): return np.interp(beat, np.arange(len(s.beats)), s.beats)
def cut(s, start, end): return s.sound[:, round(start * SAMPLE_RATE):round(end * SAMPLE_RATE)]


# The model, and what it costs

@functools.lru_cache(1)
def model(source):
    "The model on one thread, its passes counted."
    torch.set_num_threads(1)
    forward = Windowed.forward
    def counted(self, *args):
        global PASSES
        PASSES += 1
        return forward(self, *args)
    Windowed.forward = counted
    return Msanii.from_pretrained(source, device="cpu")


def timed(make):
    "What make() returns, and how many passes and seconds it took."
    passes, began = PASSES, time.perf_counter()
    made = make()
    return made, dict(passes=PASSES - passes, seconds=time.perf_counter() - began)


# Measures

def cosine(x, y): return float(x @ y / max(np.linalg.norm(x) * np.linalg.norm(y), 1e-9))


def hear(x):
    """`analyse`, with no chroma where there is silence: its bins reach far, and hear the music before and
    after."""
    a = analyse(x)
    return a._replace(chroma=a.chroma * (a.level > SILENT))


def classes(chroma): return pitch_classes(chroma) if chroma.max() > 0 else np.zeros(12)


def chroma_frames(a, b):
    "Mean cosine of the chroma frames of two analyses, where b sounds."
    x, y, on = a.chroma, b.chroma, b.level > SILENT
    return float(((x * y).sum(0)
                  / (np.linalg.norm(x, axis=0) * np.linalg.norm(y, axis=0)
                     + 1e-9))[on].mean()) if on.any() else math.nan


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
    for i, near, inside, outside in ((a, slice(a - outer, a + inner), slice(a, a + w), slice(a - w, a)),
                                     (b, slice(b - inner, b + outer), slice(b - w, b), slice(b, b + w))):
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


def judge_hole(m, x, true, s, start, a, b):
    """All measures of a filled hole from sample a to b of x (2, n), which begins `start` s into the song;
    true: the song."""
    rate, around = SAMPLE_RATE, 12 * SAMPLE_RATE
    lo, hi = max(0, a - around) // 1024 * 1024, min(x.shape[-1], b + around)
    made, song = hear(x[:, lo:hi]), hear(true[:, lo:hi])
    i, j, near = -(-(a - lo) // 1024), (b - lo) // 1024, round(6 * RATE)
    inside, outside = slice(i, j), np.r_[max(0, i - near):i, j:min(j + near, len(song.level))]
    beats = beat_at(s, start + lo / rate + np.arange(len(song.level)) / RATE)
    here, there = arrow(made.onset[inside], beats[inside]), arrow(song.onset[outside], beats[outside])
    times = np.array([onset_times(z.onset) for z in (made, song)], dtype=object)
    hole = [t[(t >= i / RATE) & (t < j / RATE)] for t in times]
    part = lambda z: z.part(i, j)
    nothing = np.median(made.level[inside]) < SILENT  # which keeps no time, neither well nor badly
    breaks = dict.fromkeys(("tempo_step", "beat_shift", "spectrum_step"),
                           math.nan) if nothing else edit_continuity(x[:, lo:hi],
                           [((a - lo) / rate, (b - lo) / rate)])
    kept = torch.ones(x.shape[-1], dtype=torch.bool)
    kept[a:b] = False
    met = seams(x, a, b, kept)
    kept[a - round(FADE * rate):b + round(FADE * rate)] = False
    mels = [m.encode(z[None, :, lo:hi])[..., inside] for z in (x, true)]
    found = dict(chroma_cut=chroma_frames(part(made), part(song)),
                 chroma_around=cosine(classes(made.chroma[:, inside]), classes(song.chroma[:, outside])),
                 onset_cut=onset_f1(*hole), mel=(mels[0] - mels[1]).abs().mean().item(),
                 beat=math.nan if nothing
                 else float(np.mean((here * there.conj()).real / np.abs(there).clip(min=1e-9))),
                 tempo=breaks["tempo_step"], shift=breaks["beat_shift"], spectrum=breaks["spectrum_step"],
                 outside=(x - true)[:, kept].abs().max().item(), **met)
    return found


def inpaint(number, seconds, args):
    "One hole of one song: {method: measures}."
    m, s, rate, start = model(args.model), song(number), SAMPLE_RATE, HOLE - 50
    true = cut(s, start, HOLE + seconds + 20)
    a, b = round(50 * rate), round((50 + seconds) * rate)
    span, score = [(50, 50 + seconds)], excerpt(s.score, start, true.shape[-1] / rate)
    keep = torch.ones(true.shape[-1], dtype=torch.bool)
    keep[a:b] = False
    paste = lambda new: splice(true, new, keep, round(FADE * rate))
    how = dict(seed=number, fade=FADE, progress=False)

    def ceiling():
        lo, gain, frames = (a - 12 * rate) // 1024 * 1024, familiar_gain(true), window_frames(m)
        here, made = slice(lo, b + 12 * rate), true.clone()
        made[:, here] = join(m, encode_long(m, gain * true[:, here], frames).clamp(-1, 1), true[:, here],
                             keep[here], number, frames, round(FADE * rate), gain)
        return made

    methods = {"the song itself": lambda: true, "its mel, through the vocoder (ceiling)": ceiling,
               "silence": lambda: paste(torch.zeros_like(true)),
               "the bars before, repeated": lambda: paste(repeated(s, true, start, a, b)),
               "RePaint": lambda: m.inpaint(true, span, "repaint", steps=args.repaint, jump=args.jump,
                                            resamplings=args.resamplings, **how),
               "context network": lambda: m.inpaint(true, span, "context", steps=args.steps, **how),
               "context network and score": lambda: m.inpaint(true, span, "context", score=score,
               steps=args.steps, **how)}
    rows = {}
    for name, make in methods.items():
        made, cost = timed(make)
        rows[name] = {**judge_hole(m, made, true, s, start, a, b), "passes": cost["passes"],
                      "seconds": cost["seconds"] / seconds}
        if rows[name]["outside"] != 0:
            raise AssertionError(f"song {number}, {seconds} s, {name}: samples outside the hole and its crossfade differ by {rows[name]['outside']:g}")
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
    met = seams(x, joint, x.shape[-1],
                torch.arange(x.shape[-1]) < joint) if away == 0 else dict(step=math.nan, click=math.nan)
    return {**found, **met}


def backwards(s): return SimpleNamespace(beats=-s.beats[::-1], bar=s.bar)


def looped(piece, length, new):
    """The last `length` samples of a piece (2, n) again and again, `new` samples of them, with the usual
    crossfade."""
    loop, w = piece[:, -length:].clone(), torch.linspace(0, 1, round(FADE * SAMPLE_RATE))
    loop[:, -len(w):] = (1 - w) * loop[:, -len(w):] + w * piece[:, -length - len(w):-length]
    return torch.cat([piece[:, :-length], loop.repeat(1, 1 + -(-new // length))], -1)[:,
        :piece.shape[-1] + new]


def drifts(x, joint):
    """By minutes to the right of the joint: how far pieces of 6 s are from the song's last 12 s in level
    (mean, farthest) and in mean spectrum (dB)."""
    rate, reference = SAMPLE_RATE, x[:, max(0, joint - 12 * SAMPLE_RATE):joint]
    shape = lambda z: analyse(z).mel.mean(1)
    def apart(z):
        away = shape(z) - shape(reference)
        return float(np.abs(away - away.mean()).mean())
    pieces = [(power(p) - power(reference), apart(p))
              for p in x[:, joint:].split(6 * rate, -1) if p.shape[-1] == 6 * rate]
    return [dict(level=np.mean([p[0] for p in part]), farthest=max(abs(p[0]) for p in part),
                 spectrum=np.mean([p[1] for p in part]))
            for part in (pieces[k:k + 10] for k in range(0, len(pieces), 10)) if len(part) == 10]


def outpaint(number, side, other, args):
    """One side of one song: {method: {place: measures}}, and the drift by minutes. The left side is turned
    around in time, and back where it is listened to."""
    m, s, stranger, rate, right = model(args.model), song(number), song(other), SAMPLE_RATE, side == "right"
    piece, seconds = cut(s, *PIECE), args.seconds if right else min(args.seconds, 68.0)
    made, cost = timed(lambda: m.outpaint(piece, seconds, side, steps=args.steps, seed=number, fade=FADE,
                                          progress=False))
    turn = lambda x: x if right else x.flip(-1)
    times, at = (s, PIECE[1]) if right else (backwards(s), -PIECE[0])
    made, piece, joint, new = turn(made), turn(piece), piece.shape[-1], round(seconds * rate)
    off = (made - F.pad(piece, (0, new)))[:, :joint - round(FADE * rate)].abs().max().item()
    if off != 0: raise AssertionError(f"song {number}, {side}: the song's own samples differ by {off:g}")
    beat = beat_at(times, at)
    back = lambda count: round((at - time_of(times, beat - count)) * rate)
    bars = max((back(k) for k in range(s.bar, 64, s.bar) if back(k) <= 12 * rate), default=back(s.bar))
    truth = turn(s.sound[:, round(PIECE[0] * rate):] if right else s.sound[:, :round(PIECE[1] * rate)])
    sounds = {"the song itself": truth,
              "another song (floor)": torch.cat([piece, turn(stranger.sound)[:, 10 * rate:]], -1),
              "the last bars, repeated": looped(piece, bars, new), "outpaint": made}
    rows = {name: {f"{p:g}": place(x, joint, times, at, p, turn) if joint + (p + 7) * rate <= x.shape[-1]
                   else None for p in PLACES if p + 7 < seconds} for name, x in sounds.items()}
    return dict(rows=rows, drift=drifts(made, joint) if right else [], passes=cost["passes"],
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
    rows = {"another song (floor)": {**alike(m, stranger, true), "passes": 0, "seconds": math.nan}}
    for strength in STRENGTHS:
        made, cost = timed(lambda: m.style_transfer(true, strength, steps=args.steps, seed=number,
                                                    progress=False))
        rows[f"strength {strength:g}"] = {**alike(m, made, true), "passes": cost["passes"],
                                          "seconds": cost["seconds"] / (CLIP[1] - CLIP[0])}
    return rows


def interpolate(number, other, args):
    "Two songs, all ratios, both ways of mixing the noise: {row: measures}."
    m, a, b = model(args.model), cut(song(number), *CLIP), cut(song(other), *CLIP)
    def judge(x):
        return {**alike(m, x, a, " to a"), **alike(m, x, b, " to b"), "pulse": pulse(analyse(x).onset)[1],
                "level": power(x) - (power(a) + power(b)) / 2}
    rows = {"the two, added": {**judge((a + b) / 2), "passes": 0}}
    for mix in ("linear", "spherical"):
        for ratio in RATIOS:
            made, cost = timed(lambda: m.interpolate(a, b, ratio, 0.5, mix, steps=args.steps, seed=number,
                                                     progress=False))
            rows[f"{mix}, ratio {ratio:g}"] = {**judge(made), "passes": cost["passes"]}
    return rows


# Runs and tables

def commit():
    return subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True,
                          cwd=Path(__file__).parent).stdout.strip()


def folder(args, songs):
    "Where the results of these weights, this code and these settings are kept."
    m, code = model(args.model), hashlib.sha256()
    for part in (m.unet, m.vocoder, m.mel):
        for value in part.state_dict().values(): code.update(value.numpy().tobytes())
    package = Path(__file__).parents[1] / "msanii"
    names = ("mel phase diffusion samplers unet vocoder score pop909 pipeline style_transfer interpolation "
             "inpainting outpainting evaluation")
    for file in (Path(__file__), *(package / f"{name}.py" for name in names.split())):
        code.update(file.read_bytes())
    kept = {key: getattr(args, key) for key in ("steps", "repaint", "jump", "resamplings", "seconds")}
    code.update(json.dumps([kept, m.settings.__dict__, songs.name], default=str).encode())
    return Path(args.out) / code.hexdigest()[:12]


def once(file, what, *how):
    "The result of what(*how), from its file if it is there."
    if file.exists(): return json.loads(file.read_text())
    result = dict(commit=commit(), found=json.loads(json.dumps(what(*how), default=float)))
    with replacing(file) as temporary: temporary.write_text(json.dumps(result))
    return result


def cell(rows, key, digits=2):
    value, low, high = bootstrap([math.nan if row is None else row[key] for row in rows])
    return "–" if math.isnan(value) else f"{value:.{digits}f}" if low == high or math.isnan(low) else f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def table(head, rows):
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows: print("| " + " | ".join(row) + " |")
    print()


def print_inpaint(found, args):
    print("### Inpainting: the music in the hole\n\nChroma: mean cosine of frames with what was cut; cosine of pitch-class histograms with the 6 s on either side. Onsets: F1 with what was cut, within 50 ms. "
          "Beat: how strongly notes begin inside at the place in the (half) beat where they do outside, by the song's annotated beats, at most 1. Tempo (octaves) and pulse (parts of one, up to 0.5): by how "
          "much they shift from the 6 s before a seam to those after it. Mel L1: with what was cut.\n")
    groups = {h: [f for (hole, _), f in found.items() if hole == h] for h in args.holes}
    part = lambda h, name: [f[name] for f in groups[h]]
    names = list(next(iter(found.values())))
    table(["hole", "filled by", "chroma, cut", "chroma, around", "onsets, cut", "beat", "tempo shift",
           "pulse shift", "mel L1"],
          [[f"{h:g} s", name,
            *(cell(part(h, name), k) for k
              in ("chroma_cut", "chroma_around", "onset_cut", "beat", "tempo", "shift")),
            cell(part(h, name), "mel", 3)] for h in groups for name in names])
    print("### Inpainting: seams and cost\n\nLevel step: over 0.4 s on either side. Difference: its peak from sample to sample at the seam over that in the song within 4 s of the hole, and the share of seams where it is "
          "above 1. Spectrum step: of mel bands, the level aside, over 3 s. Outside: largest difference of samples outside the hole and its crossfade of 50 ms. Passes: of the network. s per s: seconds of "
          "computing per second of hole, one thread.\n")
    table(["hole", "filled by", "level step (dB)", "difference", "above 1", "spectrum step (dB)", "outside",
           "passes", "s per s"],
          [[f"{h:g} s", name, *(cell(part(h, name), k) for k in ("step", "click", "clicks", "spectrum")),
            f"{max(r['outside'] for r in part(h, name)):g}",
            f"{np.mean([r['passes'] for r in part(h, name)]):.0f}",
            f"{np.mean([r['seconds'] for r in part(h, name)]):.2f}"] for h in groups for name in names])


def print_outpaint(found, args):
    print(f"### Outpainting\n\n{PIECE[1] - PIECE[0]:g} s of a song continued. At the joint and so many seconds further (a whole number of beats), 6 s are compared with the song's 6 s at the joint, as if they followed them: "
          "level (dB, louder or softer), spectrum (dB), harmony (1 - cosine of pitch-class histograms), tempo (octaves), pulse (parts of one). At the joint itself also the level step and the difference between samples, as above.\n")
    for side in ("right", "left"):
        group = [f for (where, _), f in found.items() if where == side]
        names, places = list(group[0]["rows"]), list(group[0]["rows"]["outpaint"])
        part = lambda name, place: [f["rows"][name][place] for f in group]
        table(["side", "from the joint", "continued by", "level", "spectrum", "harmony", "tempo", "pulse",
               "level step (dB)", "difference"],
              [[side, f"{place} s", name, *(cell(part(name, place), k)
                                            for k in ("level", "spectrum", "harmony", "tempo", "shift",
                                            "step", "click"))] for place in places for name in names])
        print(f"To the {side}: {np.mean([f['passes'] for f in group]):.0f} passes over windows, {np.mean([f['seconds'] for f in group]):.2f} s of computing per second; the song's own samples were the same to the bit in each.\n")
    group = [f["drift"] for (where, _), f in found.items() if where == "right"]
    print("Drift to the right, in pieces of 6 s against the song's last 12 s.\n")
    table(["minute", "level (dB)", "farthest in a song (dB)", "farthest in any", "mean spectrum (dB)"],
          [[str(k + 1), cell([d[k] for d in group], "level"), cell([d[k] for d in group], "farthest"),
            f"{max(d[k]['farthest'] for d in group):.2f}", cell([d[k] for d in group], "spectrum")]
           for k in range(min(map(len, group)))])


def print_style(found, args):
    print(f"### Style transfer\n\nLikeness of {CLIP[1] - CLIP[0]:g} s to what went in: correlation of mels (each bin's mean taken out), mean cosine of chroma frames, F1 of onsets. 0.1, 0.5 and 0.9 are the paper's t = 100, 500 and 900; 0 is mel and vocoder alone.\n")
    names = list(next(iter(found.values())))
    table(["", "mel", "chroma", "onsets", "passes", "s per s"],
          [[name, *(cell([f[name] for f in found.values()], k) for k in ("mel", "chroma", "onset")),
            f"{np.mean([f[name]['passes'] for f in found.values()]):.0f}",
            cell([f[name] for f in found.values()], "seconds")] for name in names])
    falls = lambda values: all(a > b for a, b in zip(values, values[1:]))
    curves = [[f[f"strength {s:g}"]["mel"] for s in STRENGTHS] for f in found.values()]
    print(f"The mean of the mel's likeness {'falls' if falls(np.mean(curves, 0)) else 'does NOT fall'} from each strength to the next; so it does in {sum(map(falls, curves))} of {len(curves)} songs.\n")


def print_interpolate(found, args):
    print("### Interpolation\n\nBetween a song and the next at strength 0.5: likeness to either, as above; clarity of the pulse (0 to 1); level against the middle of the two (dB).\n")
    names = list(next(iter(found.values())))
    table(["", "mel to a", "mel to b", "chroma to a", "chroma to b", "onsets to a", "onsets to b", "pulse",
           "level", "passes"],
          [[name, *(cell([f[name] for f in found.values()], k)
                    for k in ("mel to a", "mel to b", "chroma to a", "chroma to b", "onset to a",
                              "onset to b", "pulse", "level")),
            f"{np.mean([f[name]['passes'] for f in found.values()]):.0f}"] for name in names])


SECTIONS = dict(inpaint=print_inpaint, outpaint=print_outpaint, style=print_style,
                interpolate=print_interpolate)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(SECTIONS), choices=SECTIONS)
    parser.add_argument("--songs", default="800-859",
                        help="first and last, of those that nothing was trained on")
    parser.add_argument("--every", type=int, default=8, help="of these songs, one in so many")
    parser.add_argument("--holes", type=float, nargs="*", default=[1, 3, 10, 30], help="seconds")
    parser.add_argument("--seconds", type=float, default=128.0,
                        help="to continue to the right; to the left 68 at most")
    parser.add_argument("--steps", type=int, default=None,
                        help="network passes; the model knows a good number")
    parser.add_argument("--repaint", type=int, default=50,
                        help="network passes that RePaint may take at most")
    parser.add_argument("--jump", type=int, default=5)
    parser.add_argument("--resamplings", type=int, default=3)
    parser.add_argument("--model", default=None,
                        help="folder or Hugging Face Hub id; the weights in the package otherwise")
    parser.add_argument("--jobs", type=int, default=-1)
    parser.add_argument("--out", default="outputs/edits",
                        help="folder for results, which an interrupted run finds again")
    args = parser.parse_args()
    songs, (first, last) = all_songs(), map(int, args.songs.split("-"))
    numbers = [n for n in range(first, last + 1, args.every) if n in songs]
    if len(numbers) < 2:
        raise InputError(f"--songs {args.songs} --every {args.every}: give two songs or more of {songs.name}")
    where, pairs = folder(args, songs), list(zip(numbers, numbers[1:] + numbers[:1]))
    work = [("inpaint", (h, n), inpaint, n, h, args) for h in sorted(args.holes, reverse=True)
            for n in numbers]
    work += [("outpaint", (side, n), outpaint, n, side, other, args) for side in ("right", "left") for n,
             other in pairs]
    work += [("style", n, style, n, other, args) for n,
             other in pairs] + [("interpolate", n, interpolate, n, other, args) for n, other in pairs]
    work = [w for w in work if w[0] in args.only]
    name = lambda section, key: "-".join([section,
                                          *(f"{k:g}" if isinstance(k, (int, float)) else k
                                            for k in (key if isinstance(key, tuple) else (key,)))])
    began = time.perf_counter()
    calls = [joblib.delayed(once)(where / f"{name(section, key)}.json", what, *how) for section, key, what,
             *how in work]
    results = list(tqdm(joblib.Parallel(n_jobs=args.jobs, return_as="generator")(calls), total=len(calls),
                        desc="results"))
    m = model(args.model)
    print(f"{time.strftime('%Y-%m-%d')}, commit {', '.join(sorted({r['commit'] for r in results}))}, {songs.name}, {len(numbers)} songs: {', '.join(map(str, numbers))}; "
          f"sampler {m.settings.sampler}, {args.steps or m.settings.steps} passes, RePaint with at most {args.repaint}, jump {args.jump}, {args.resamplings} resamplings; "
          f"{(time.perf_counter() - began) / 60:.1f} minutes for what was not there already, {joblib.effective_n_jobs(args.jobs)} jobs of one thread\n")
    for section in args.only:
        SECTIONS[section]({key: r["found"] for (s, key, *_), r in zip(work, results) if s == section}, args)


if __name__ == "__main__":
    import edits  # under its own name, by which the other processes can find it
    edits.main()
