"""From the mel to sound and back to numbers: vocoders and Griffin-Lim side by side.

python benchmarks/vocoder.py [--pop909 ZIP] [--paper MODEL] [--seconds 6] [--songs 800-859] [--curve]

Songs 800 to 859 of POP909 (or composed songs without it), and material from outside: the same at another tuning, other General
MIDI programs, drums, a sweep, noise; all as a file of 16 bits holds them. Each row is a way to a waveform: a magnitude, then a phase. `--paper` names a model whose vocoder is the paper's
(`msanii train vocoder --config paper`). `--curve` prints the quality against the iterations of Griffin-Lim instead,
`--magnitudes` only what comes before any phase, `--speed` how fast it is with one and two threads."""
import argparse, math, time, warnings

import auraloss
import librosa
import numpy as np
import torch
import torchaudio

from msanii.corpus import change_programs
from msanii.losses import log_magnitude, spectral_convergence
from msanii.mel import istft, magnitude, stft
from msanii.phase import griffin_lim
from msanii.pipeline import WEIGHTS, _config, _mel, _part
from msanii.pop909 import Composed, Pop909, excerpt
from msanii.score import compose, render_score
from msanii.vocoder import build_vocoder

RATE = 44_100


def played(score, seconds, start=30.0):
    "A few seconds of a score, played: (1, 2, n)."
    first = min(n.start for i in score.instruments for n in i.notes)
    waveform = render_score(excerpt(score, first + min(start, score.get_end_time() / 2), seconds))[:, : round(seconds * RATE)]
    return waveform[None] / max(1.0, waveform.abs().max().item())


def stored(waveform):
    "As a file of 16 bits holds it."
    return (waveform * 32_767).round() / 32_767


def material(args):
    "{name: list of waveforms}"
    first, last = (int(x) for x in args.songs.split("-"))
    if args.pop909:
        songs = Pop909(args.pop909)
        piano = [played(songs[n].score, args.seconds) for n in range(first, last + 1) if n in songs]
        others = [played(change_programs(songs[n].score, n), args.seconds) for n in range(first, last + 1, 10) if n in songs]
    else:
        piano, others = [played(Composed()[n].score, args.seconds) for n in range(first, last + 1)], []
    for seed in range(90_001, 90_007):
        others.append(played(change_programs(compose(seed, 60.0), seed), args.seconds))
    drums = []
    for seed in range(90_001, 90_004):
        score = compose(seed, 60.0)
        score.instruments = [i for i in score.instruments if i.is_drum]
        drums.append(played(score, args.seconds))
    n = round(args.seconds * RATE)
    t = torch.arange(n) / RATE
    sweep = 0.5 * torch.sin(2 * math.pi * 50 * (2 ** (8 * t / args.seconds) - 1) / (8 * math.log(2)) * args.seconds)
    noise = 0.1 * torch.randn(2, n, generator=torch.Generator().manual_seed(0))
    higher = [torchaudio.functional.resample(w, 128, 125) for w in piano[:20]]
    return {"POP909, held out": piano, "POP909, 41 cents higher": higher, "other programs": others, "drums": drums, "sweep": [sweep.expand(1, 2, n)],
            "noise": [noise[None]]}


def measures(made, true, mel):
    "One number for each column, of waveforms (1, 2, n)."
    made = made[..., : true.shape[-1]].float()
    a, b = magnitude(made), magnitude(true)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        multi = auraloss.freq.MultiResolutionSTFTLoss()(made, true).item()
        chroma = [librosa.feature.chroma_stft(S=m[0].mean(0).numpy() ** 2, sr=RATE, n_fft=2048, tuning=0.0) for m in (a, b)]
    loud = chroma[1].sum(0) > 0
    lsd = ((20 * ((a + 1e-5).log10() - (b + 1e-5).log10())) ** 2).mean(-2).sqrt().mean().item()
    cosine = (chroma[0] * chroma[1]).sum(0) / (np.linalg.norm(chroma[0], axis=0) * np.linalg.norm(chroma[1], axis=0) + 1e-9)
    return dict(sc=spectral_convergence(a, b).item(), lm=log_magnitude(a, b).item(), lsd=lsd, mrstft=multi,
                mel=(mel(made) - mel(true)).abs().mean().item(), level=abs(20 * math.log10((made.norm() + 1e-9) / (true.norm() + 1e-9))), chroma=float(cosine[loud].mean()))


def torchaudio_phase(S, n_iter, length):
    return torchaudio.functional.griffinlim(S, torch.hann_window(2048), 2048, 1024, 2048, 1.0, n_iter, 0.99, length, True)


def librosa_inversion(waveform, mel):
    "librosa's own way: non-negative least squares, then its Griffin-Lim."
    M = (mel.filters @ magnitude(waveform))[0].numpy()
    made = [librosa.feature.inverse.mel_to_audio(c, sr=RATE, n_fft=2048, hop_length=1024, power=1.0, n_iter=32, length=waveform.shape[-1], htk=True, norm=None) for c in M]
    return torch.from_numpy(np.stack(made))[None]


def ways(args):
    "{name: waveform -> (magnitude or None, waveform)}, and the mel."
    config = _config(args.model)
    mel, ours = _mel(args.model, config), _part(args.model, config, "vocoder", build_vocoder).eval()
    magnitudes = {"pseudo-inverse": lambda w: mel.to_magnitude(mel(w)), "true magnitude": magnitude}
    if args.paper:
        c = _config(args.paper)
        paper_mel, paper = _mel(args.paper, c), _part(args.paper, c, "vocoder", build_vocoder).eval()
        magnitudes["paper's vocoder"] = lambda w: paper(paper_mel(w))
    magnitudes["ours"] = lambda w: ours(mel(w), mel.guess(mel(w)))
    phases = {"torchaudio": torchaudio_phase, "ours": griffin_lim}
    def way(find, phase, n_iter):
        def run(w):
            S = find(w)
            return S, phases[phase](S, n_iter, length=w.shape[-1])
        return run
    def with_true_phase(find):
        "What no way to a phase could beat."
        def run(w):
            X, S = stft(w), find(w)
            return S, istft(S * X / X.abs().clamp(min=1e-9), length=w.shape[-1])
        return run
    rows = [("true magnitude", "torchaudio", 32), ("true magnitude", "torchaudio", 100), ("true magnitude", "ours", 8), ("true magnitude", "ours", 32),
            ("pseudo-inverse", "torchaudio", 32), ("pseudo-inverse", "torchaudio", 100), ("pseudo-inverse", "ours", 8),
            ("paper's vocoder", "torchaudio", 100), ("paper's vocoder", "ours", 8), ("ours", "torchaudio", 32), ("ours", "torchaudio", 100),
            ("ours", "ours", 0), ("ours", "ours", 2), ("ours", "ours", 4), ("ours", "ours", 8), ("ours", "ours", 16), ("ours", "ours", 32)]
    if args.curve: rows = [(m, p, n) for m in ("true magnitude", "ours") for p in phases for n in (0, 2, 4, 8, 16, 32, 64, 100) if n or p == "ours"]
    table = {f"{m} + {p} {n}": way(magnitudes[m], p, n) for m, p, n in rows if m in magnitudes}
    table["ours + the true phase"] = with_true_phase(magnitudes["ours"])
    if not args.curve: table["librosa mel_to_audio"] = lambda w: (None, librosa_inversion(w, mel))
    return table, magnitudes, mel


def speed(args):
    "From the mel to sound, of half a minute from song to song in one call: the best of five."
    config = _config(args.model)
    mel, ours = _mel(args.model, config), _part(args.model, config, "vocoder", build_vocoder).eval()
    songs = Pop909(args.pop909) if args.pop909 else Composed()
    x = mel(torch.cat([played(songs[n].score, 6.0) for n in range(800, 805)], -1))
    seconds = mel.samples(x.shape[-1]) / RATE
    ways = {f"ours + ours {n}": lambda n=n: griffin_lim(ours(x, mel.guess(x)), n) for n in (0, 4, 8, 32)}
    ways["pseudo-inverse + torchaudio 100"] = lambda: torchaudio_phase(mel.to_magnitude(x), 100, mel.samples(x.shape[-1]))
    print("| from mel to sound | threads | s per s | times as fast as it plays |\n|---|---|---|---|")
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for name, run in ways.items():
            run()
            times = []
            for _ in range(5):
                began = time.perf_counter()
                run()
                times.append((time.perf_counter() - began) / seconds)
            print(f"| {name} | {threads} | {min(times):.4f} | {1 / min(times):.0f} |", flush=True)


def mean(rows): return {k: float(np.mean([r[k] for r in rows])) for k in rows[0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pop909"); parser.add_argument("--paper"); parser.add_argument("--model", default=WEIGHTS)
    parser.add_argument("--seconds", type=float, default=6.0); parser.add_argument("--songs", default="800-859")
    parser.add_argument("--threads", type=int, default=2); parser.add_argument("--curve", action="store_true")
    parser.add_argument("--magnitudes", action="store_true"); parser.add_argument("--speed", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.speed:
        with torch.no_grad(): return speed(args)
    played_sounds = material(args)
    sounds = {name: [stored(w) for w in waveforms] for name, waveforms in played_sounds.items()}
    table, magnitudes, mel = ways(args)
    with torch.no_grad():
        if not args.curve:
            for name, waveforms in sounds.items():
                print(f"\n### {name} ({len(waveforms)} pieces of {args.seconds:g} s): the magnitude, before any phase\n\n| magnitude | spectral convergence | log magnitude | level, dB |\n|---|---|---|---|")
                for way, find in magnitudes.items():
                    if way == "true magnitude": continue
                    rows = [dict(sc=spectral_convergence(S, T).item(), lm=log_magnitude(S, T).item(), level=abs(20 * math.log10(S.norm() / T.norm())))
                            for w in waveforms for S, T in [(find(w), magnitude(w))]]
                    print("| {} | {sc:.3f} | {lm:.3f} | {level:.2f} |".format(way, **mean(rows)))
            print("\n### Where the error of the log magnitude lies: POP909, by frequency, and as it was before it was stored in 16 bits\n")
            bands = (0, 1, 2, 4, 8, RATE / 2000)
            print("| magnitude | " + " | ".join(f"{a:g} to {b:g} kHz" for a, b in zip(bands, bands[1:])) + " | all | all, before it was stored |\n|---|" + "---|" * (len(bands) + 1))
            for way, find in magnitudes.items():
                if way == "true magnitude": continue
                edges = [round(1000 * f * 2048 / RATE) for f in bands]
                rows = []
                for w, raw in zip(sounds["POP909, held out"], played_sounds["POP909, held out"]):
                    S, T, R = find(w), magnitude(w), magnitude(raw)
                    rows.append([log_magnitude(S[..., a:b, :], T[..., a:b, :]).item() for a, b in zip(edges, edges[1:])] + [log_magnitude(S, T).item(), log_magnitude(find(raw), R).item()])
                print(f"| {way} | " + " | ".join(f"{x:.3f}" for x in np.mean(rows, 0)) + " |")
            gaussian = torch.randn(2**20, generator=torch.Generator().manual_seed(0), dtype=torch.complex64).abs().log()
            print(f"| the median, if every bin were noise | " + " | ".join([f"{(gaussian - gaussian.median()).abs().mean():.3f}"] * len(bands)) + " | |")
            print("\n### Level: POP909 made quieter or louder before the mel\n\n| magnitude | -40 dB | -20 dB | 0 dB | +20 dB | +40 dB |\n|---|---|---|---|---|---|")
            for way, find in magnitudes.items():
                if way == "true magnitude": continue
                off = [np.mean([20 * math.log10(find(w * g).norm() / magnitude(w * g).norm()) for w in sounds["POP909, held out"][:10]]) for g in (0.01, 0.1, 1, 10, 100)]
                print(f"| {way} | " + " | ".join(f"{x:+.2f}" for x in off) + " |")
        for name, waveforms in ({} if args.magnitudes else sounds).items():
            if args.curve and name not in ("POP909, held out", "other programs"): continue
            print(f"\n### {name}: the waveform\n\n| magnitude + phase, iterations | SC | log mag | LSD, dB | MR-STFT | mel L1 | level, dB | chroma | s per s |\n|---|---|---|---|---|---|---|---|---|")
            for way, run in table.items():
                rows = []
                for w in waveforms[: 20 if way.startswith("librosa") or args.curve else None]:
                    began = time.perf_counter()
                    made = run(w)[1]
                    seconds = (time.perf_counter() - began) / (w.shape[-1] / RATE)
                    rows.append(dict(measures(made, w, mel), seconds=seconds))
                print("| {} | {sc:.3f} | {lm:.3f} | {lsd:.1f} | {mrstft:.2f} | {mel:.4f} | {level:.2f} | {chroma:.3f} | {seconds:.3f} |".format(way, **mean(rows)), flush=True)


if __name__ == "__main__": main()
