"""From the mel to sound and back to numbers: vocoders and Griffin-Lim side by side.

    python benchmarks/vocoder.py [--pop909 ZIP] [--paper MODEL] [--seconds 6] [--songs 800-859] [--curve]

Songs 800 to 859 of POP909 (or composed songs without it), and material from outside: the same at another
tuning, other General MIDI programs, drums, a sweep, noise; all as a file of 16 bits holds them. Each row is a
way to a waveform: a magnitude, then a phase. `--paper` names a model whose vocoder is the paper's (`msanii
train vocoder --config paper`). `--curve` prints the quality against the iterations of Griffin-Lim instead,
`--magnitudes` only what comes before any phase, `--speed` how fast it is with one and two threads."""
import math
import time
import warnings

import auraloss
import librosa
import numpy as np
import torch
import torchaudio

from msanii.corpus import change_programs
from msanii.losses import log_magnitude, spectral_convergence
from msanii.mel import istft, magnitude, stft
from msanii.phase import griffin_lim
from msanii.pipeline import WEIGHTS, pretrained_vocoder
from msanii.pop909 import Composed, Pop909, excerpt
from msanii.score import song_by_rules, render_score

from about import about, arguments, head, row

RATE = 44_100
PIANO, PROGRAMS = "POP909, held out", "other programs"


def played(score, seconds, start=30.0):
    "A few seconds of a score, played: (1, 2, n)."
    first = min(n.start for i in score.instruments for n in i.notes)
    part = excerpt(score, first + min(start, score.get_end_time() / 2), seconds)
    waveform = render_score(part)[:, : round(seconds * RATE)]
    return waveform[None] / max(1.0, waveform.abs().max().item())


def stored(waveform):
    "As a file of 16 bits holds it."
    return (waveform * 32_767).round() / 32_767


def songs_played(args):
    "Pieces of the songs, and of every tenth of them by other General MIDI programs."
    first, last = (int(x) for x in args.songs.split("-"))
    if not args.pop909: return [played(Composed()[n].score, args.seconds) for n in range(first, last + 1)], []
    songs = Pop909(args.pop909)
    piano = [played(songs[n].score, args.seconds) for n in range(first, last + 1) if n in songs]
    tenth = [n for n in range(first, last + 1, 10) if n in songs]
    return piano, [played(change_programs(songs[n].score, n), args.seconds) for n in tenth]


def drums(seed, seconds):
    score = song_by_rules(seed, 60.0)
    score.instruments = [i for i in score.instruments if i.is_drum]
    return played(score, seconds)


def material(args):
    "{name: list of waveforms}"
    piano, others = songs_played(args)
    for seed in range(90_001, 90_007):
        others.append(played(change_programs(song_by_rules(seed, 60.0), seed), args.seconds))
    n = round(args.seconds * RATE)
    octaves = 8 * torch.arange(n) / RATE / args.seconds
    sweep = 0.5 * torch.sin(2 * math.pi * 50 * (2 ** octaves - 1) / (8 * math.log(2)) * args.seconds)
    noise = 0.1 * torch.randn(2, n, generator=torch.Generator().manual_seed(0))
    higher = [torchaudio.functional.resample(w, 128, 125) for w in piano[:20]]
    return {PIANO: piano, "POP909, 41 cents higher": higher, PROGRAMS: others,
            "drums": [drums(seed, args.seconds) for seed in range(90_001, 90_004)],
            "sweep": [sweep.expand(1, 2, n)], "noise": [noise[None]]}


def chroma_likeness(a, b):
    "Mean cosine of the chroma frames of two magnitudes (1, c, k, t), where the second sounds."
    how = dict(sr=RATE, n_fft=2048, tuning=0.0)
    x, y = (librosa.feature.chroma_stft(S=m[0].mean(0).numpy() ** 2, **how) for m in (a, b))
    cosine = (x * y).sum(0) / (np.linalg.norm(x, axis=0) * np.linalg.norm(y, axis=0) + 1e-9)
    return float(cosine[y.sum(0) > 0].mean())


def measures(made, true, mel):
    "One number for each column, of waveforms (1, 2, n)."
    made = made[..., : true.shape[-1]].float()
    a, b = magnitude(made), magnitude(true)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        multi = auraloss.freq.MultiResolutionSTFTLoss()(made, true).item()
        chroma = chroma_likeness(a, b)
    lsd = ((20 * ((a + 1e-5).log10() - (b + 1e-5).log10())) ** 2).mean(-2).sqrt().mean().item()
    level = abs(20 * math.log10((made.norm() + 1e-9) / (true.norm() + 1e-9)))
    return dict(sc=spectral_convergence(a, b).item(), lm=log_magnitude(a, b).item(), lsd=lsd, mrstft=multi,
                mel=(mel(made) - mel(true)).abs().mean().item(), level=level, chroma=chroma)


COLUMNS = ("SC", "log mag", "LSD, dB", "MR-STFT", "mel L1", "level, dB", "chroma", "s per s")


def columns(rows, mrstft=2):
    "The cells of `COLUMNS`: means of `measures` and of seconds."
    digits = dict(sc=3, lm=3, lsd=1, mrstft=mrstft, mel=4, level=2, chroma=3, seconds=3)
    return [f"{np.mean([r[name] for r in rows]):.{n}f}" for name, n in digits.items()]


def torchaudio_phase(S, n_iter, length):
    window = torch.hann_window(2048)
    return torchaudio.functional.griffinlim(S, window, 2048, 1024, 2048, 1.0, n_iter, 0.99, length, True)


def librosa_inversion(waveform, mel):
    "librosa's own way: non-negative least squares, then its Griffin-Lim."
    M = (mel.filters @ magnitude(waveform))[0].numpy()
    how = dict(sr=RATE, n_fft=2048, hop_length=1024, power=1.0, n_iter=32, htk=True, norm=None)
    made = [librosa.feature.inverse.mel_to_audio(c, length=waveform.shape[-1], **how) for c in M]
    return torch.from_numpy(np.stack(made))[None]


PHASES = {"torchaudio": torchaudio_phase, "ours": griffin_lim}
ROWS = {"true magnitude": {"torchaudio": (32, 100), "ours": (8, 32)},
        "pseudo-inverse": {"torchaudio": (32, 100), "ours": (8,)},
        "paper's vocoder": {"torchaudio": (100,), "ours": (8,)},
        "ours": {"torchaudio": (32, 100), "ours": (0, 2, 4, 8, 16, 32)}}
COUNTS = (2, 4, 8, 16, 32, 64, 100)
CURVE = {name: {"torchaudio": COUNTS, "ours": (0, *COUNTS)} for name in ("true magnitude", "ours")}


def way(find, phase, n_iter):
    "waveform -> its magnitude, found by `find`, and the waveform that a phase makes of that."
    def run(w):
        S = find(w)
        return S, PHASES[phase](S, n_iter, length=w.shape[-1])
    return run


def with_true_phase(find):
    "What a better phase could win, though not by mel L1 and level."
    def run(w):
        X, S = stft(w), find(w)
        return S, istft(S * X / X.abs().clamp(min=1e-9), length=w.shape[-1])
    return run


def ways(args):
    "{name: waveform -> (magnitude or None, waveform)}, {name: waveform -> magnitude}, and the mel."
    ours, mel = pretrained_vocoder(args.model)
    magnitudes = {"pseudo-inverse": lambda w: mel.to_magnitude(mel(w)), "true magnitude": magnitude,
                  "first guess": lambda w: mel.guess(mel(w))}  # what ours begins with, without zeros
    if args.paper:
        paper, paper_mel = pretrained_vocoder(args.paper)
        magnitudes["paper's vocoder"] = lambda w: paper(paper_mel(w))
    magnitudes["ours"] = lambda w: ours(mel(w), mel.guess(mel(w)))
    chosen = CURVE if args.curve else ROWS
    rows = [(m, p, n) for m in chosen for p in chosen[m] for n in chosen[m][p]]
    table = {f"{m} + {p} {n}": way(magnitudes[m], p, n) for m, p, n in rows if m in magnitudes}
    table["ours + the true phase"] = with_true_phase(magnitudes["ours"])
    if not args.curve: table["librosa mel_to_audio"] = lambda w: (None, librosa_inversion(w, mel))
    return table, magnitudes, mel


def seconds_of(run, *args):
    "What run(*args) gives, and how many seconds it took."
    began = time.perf_counter()
    made = run(*args)
    return made, time.perf_counter() - began


def speed(args):
    "From the mel to sound, of half a minute from song to song in one call: the best of five."
    ours, mel = pretrained_vocoder(args.model)
    songs = Pop909(args.pop909) if args.pop909 else Composed()
    x = mel(torch.cat([played(songs[n].score, 6.0) for n in range(800, 805)], -1))
    n = mel.samples(x.shape[-1])
    ways = {f"ours + ours {i}": lambda i=i: griffin_lim(ours(x, mel.guess(x)), i) for i in (0, 4, 8, 32)}
    ways["pseudo-inverse + torchaudio 100"] = lambda: torchaudio_phase(mel.to_magnitude(x), 100, n)
    head("from mel to sound", "threads", "s per s", "times as fast as it plays")
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for name, run in ways.items():
            run()
            best = min(seconds_of(run)[1] / (n / RATE) for _ in range(5))
            row(name, threads, f"{best:.4f}", f"{1 / best:.0f}")


def print_magnitudes(sounds, magnitudes, seconds):
    "How far the magnitudes are from the true ones, for each kind of sound."
    for name, waveforms in sounds.items():
        print(f"\n### {name} ({len(waveforms)} pieces of {seconds:g} s): the magnitude, before any phase\n")
        head("magnitude", "spectral convergence", "log magnitude", "level, dB")
        for way, find in magnitudes.items():
            pairs = ((find(w), magnitude(w)) for w in waveforms)
            rows = [(spectral_convergence(S, T).item(), log_magnitude(S, T).item(),
                     abs(20 * math.log10(S.norm() / T.norm()))) for S, T in pairs]
            sc, lm, level = np.mean(rows, 0)
            row(way, f"{sc:.3f}", f"{lm:.3f}", f"{level:.2f}")


def print_bands(waveforms, raw, magnitudes):
    "Where the error of the log magnitude lies; raw: the waveforms before they were stored."
    print("\n### Where the error of the log magnitude lies: POP909, by frequency, and as it was before it "
          "was stored in 16 bits\n")
    bands = (0, 1, 2, 4, 8, RATE / 2000)
    edges = [round(1000 * f * 2048 / RATE) for f in bands]
    head("magnitude", *(f"{a:g} to {b:g} kHz" for a, b in zip(bands, bands[1:])), "all",
         "all, before it was stored")
    for way, find in magnitudes.items():
        rows = []
        for w, before in zip(waveforms, raw):
            S, T, R = find(w), magnitude(w), magnitude(before)
            parts = [log_magnitude(S[..., a:b, :], T[..., a:b, :]).item() for a, b in zip(edges, edges[1:])]
            rows.append([*parts, log_magnitude(S, T).item(), log_magnitude(find(before), R).item()])
        row(way, *(f"{x:.3f}" for x in np.mean(rows, 0)))
    generator = torch.Generator().manual_seed(0)
    gaussian = torch.randn(2**20, generator=generator, dtype=torch.complex64).abs().log()
    off = f"{(gaussian - gaussian.median()).abs().mean():.3f}"
    row("the median, if every bin were noise", *[off] * len(bands), "")


def print_levels(waveforms, magnitudes):
    print("\n### Level: POP909 made quieter or louder before the mel\n")
    head("magnitude", "-40 dB", "-20 dB", "0 dB", "+20 dB", "+40 dB")
    for way, find in magnitudes.items():
        off = lambda w: 20 * math.log10(find(w).norm() / magnitude(w).norm())
        row(way, *(f"{np.mean([off(w * g) for w in waveforms]):+.2f}" for g in (0.01, 0.1, 1, 10, 100)))


def print_waveforms(sounds, table, mel, curve):
    "All ways to a waveform, for each kind of sound."
    for name, waveforms in sounds.items():
        print(f"\n### {name}: the waveform\n")
        head("magnitude + phase, iterations", *COLUMNS)
        for way, run in table.items():
            rows = []
            for w in waveforms[: 20 if way.startswith("librosa") or curve else None]:
                (_, made), seconds = seconds_of(run, w)
                rows.append(dict(measures(made, w, mel), seconds=seconds / (w.shape[-1] / RATE)))
            row(way, *columns(rows))


def parse():
    parser = arguments(__doc__)
    parser.add_argument("--pop909")
    parser.add_argument("--paper")
    parser.add_argument("--model", default=WEIGHTS)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--songs", default="800-859")
    parser.add_argument("--threads", type=int, default=2)
    for name in ("curve", "magnitudes", "speed"): parser.add_argument(f"--{name}", action="store_true")
    return parser.parse_args()


@torch.no_grad()
def main():
    args = parse()
    torch.set_num_threads(args.threads)
    print(about(), end="\n\n")
    if args.speed: return speed(args)
    raw = material(args)
    sounds = {name: [stored(w) for w in waveforms] for name, waveforms in raw.items()}
    table, magnitudes, mel = ways(args)
    if not args.curve:
        found = {name: find for name, find in magnitudes.items() if name != "true magnitude"}
        print_magnitudes(sounds, found, args.seconds)
        print_bands(sounds[PIANO], raw[PIANO], found)
        print_levels(sounds[PIANO][:10], found)
    if args.curve: sounds = {name: sounds[name] for name in (PIANO, PROGRAMS)}
    if not args.magnitudes: print_waveforms(sounds, table, mel, args.curve)


if __name__ == "__main__": main()
