"""What a network can add to Griffin-Lim's phases: a small one is trained, and compared with more iterations.

    python benchmarks/phase.py --corpus FOLDER [FOLDER ...] [--steps 600] [--out outputs/phase]

The network sees a magnitude of the package's vocoder and the sound after 4 iterations of Griffin-Lim, as the
magnitude is and as the sound has it, and how the phase of each bin stands to those of the bin above and the
frame before. It says by how much to turn and to scale each bin below 11 kHz. Nothing of it depends on where a
phase stands by itself, for that is not to be known. It starts with no change, and is trained on spectral
convergence and log magnitude of the sound at five resolutions. Measured on a window of four seconds from the
middle of each validation song. Training resumes."""
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Subset

from msanii.corpus import Grid, Mixed, Windows, corpus_split
from msanii.losses import log_magnitude, spectral_convergence
from msanii.mel import istft, magnitude, stft
from msanii.phase import griffin_lim
from msanii.pipeline import pretrained_vocoder
from msanii.training import Recipe, train

from about import about, arguments, head, row
from vocoder import COLUMNS, RATE, columns, measures, seconds_of

START, BINS = 4, 512
RESOLUTIONS = ((4096, 1024), (2048, 1024), (2048, 512), (1024, 256), (512, 128))


def unit(c): return c / c.abs().clamp(min=1e-9)


class PhaseNet(nn.Module):
    "Spectrum (b, k, t) of a sound and the magnitude (b, k, t) that it should have -> spectrum (b, k, t)."
    def __init__(self, width=24, blocks=2):
        super().__init__()
        self.input = nn.Conv2d(6, width, (5, 3), padding=(2, 1))
        self.blocks = nn.ModuleList([nn.Conv2d(width, width, (5, 3), padding=(2, 1)) for _ in range(blocks)])
        self.output = nn.Conv2d(width, 2, 1)
        nn.init.zeros_(self.output.weight); nn.init.zeros_(self.output.bias)

    def forward(self, C, S):
        # a sound in the middle of its frame has the phases 0, pi, 0, pi ...
        sign = 1 - 2.0 * (torch.arange(BINS + 1) % 2)[:, None]
        u, s, c = unit(C[:, : BINS + 1]) * sign, S[:, :BINS], C[:, :BINS].abs()
        scale = 1e-4 * S.amax((1, 2), keepdim=True).clamp(min=1e-9)
        level = (s / scale).log1p()
        above = u[:, :BINS] * u[:, 1:].conj()
        before = u[:, :BINS] * F.pad(u[:, :BINS, :-1], (1, 0)).conj() * sign[:BINS]
        shown = (level - 4) / 3, (c / scale).log1p() - level, above.real, above.imag, before.real, before.imag
        h = self.input(torch.stack(shown, 1))
        for block in self.blocks: h = h + block(F.gelu(h))
        gain, turn = self.output(F.gelu(h)).unbind(1)
        return S * unit(C) * F.pad(torch.polar(gain.exp(), turn), (0, 0, 0, S.shape[1] - BINS), value=1.0)


@torch.no_grad()
def start(vocoder, mel, waveform):
    """Mono waveforms (b, 1, n) -> the vocoder's magnitude (b, k, t) of them, and the spectrum (b, k, t) of
    its sound after the first iterations."""
    x = mel(waveform)
    S = vocoder(x, mel.guess(x))
    return S[:, 0], stft(griffin_lim(S, START, length=waveform.shape[-1]))[:, 0]


def loss_of(vocoder, mel):
    def loss(net, batch):
        waveform = batch["waveform"][:, :1]
        S, C = start(vocoder, mel, waveform)
        made = istft(net(C, S), length=waveform.shape[-1])[:, None]
        total = 0
        for grid in RESOLUTIONS:
            a, b = magnitude(made, *grid), magnitude(waveform, *grid)
            total = total + spectral_convergence(a, b, eps=1.0) + 0.5 * log_magnitude(a, b, eps=1e-3)
        return total / len(RESOLUTIONS)
    return loss


def ways(S, true, net):
    "{name: function that makes a waveform of the magnitude S (1, 2, k, t)}; true: (1, 2, n)."
    n = true.shape[-1]
    def with_net(more):
        C = stft(griffin_lim(S, START, length=n))
        made = istft(net(C[0], S[0]), length=n)[None]
        for _ in range(more): made = istft(S * unit(stft(made)), length=n)
        return made
    plain = lambda iterations: lambda: griffin_lim(S, iterations, length=n)
    found = {f"Griffin-Lim, {i} iterations": plain(i) for i in (START, 8, 32, 100)}
    found[f"{START} iterations, network"] = lambda: with_net(0)
    found[f"{START} iterations, network, 4 iterations"] = lambda: with_net(4)
    found["the true phase"] = lambda: istft(S * unit(stft(true)), length=n)
    return found


@torch.no_grad()
def judge(net, vocoder, mel, data):
    "The table, over the middle window of each song in the data."
    songs, rows = {}, {}
    for i in range(len(data)): songs.setdefault(data.place(i)[0], []).append(i)
    for windows in songs.values():
        true = data[windows[len(windows) // 2]]["waveform"][None]
        x = mel(true)
        for name, make in ways(vocoder(x, mel.guess(x)), true, net).items():
            made, seconds = seconds_of(make)
            found = dict(measures(made, true, mel), seconds=seconds / (true.shape[-1] / RATE))
            rows.setdefault(name, []).append(found)
    head("phase", *COLUMNS)
    for name, found in rows.items(): row(name, *columns(found, mrstft=3))


def learn(vocoder, mel, args):
    "A network that has learned, and prints its validation losses."
    recipe = Recipe(steps=args.steps, batch=8, frames=64, lr=2e-3, decay=0.7, betas=(0.9, 0.99), warmup=30,
                    ema=0.98, ema_start=100, log_every=20, validate_every=100, save_every=100)
    length = recipe.steps * recipe.batch
    sets = [Windows(c, recipe.frames, corpus_split(c, "train"), length=length) for c in args.corpus]
    grid = Grid(args.corpus[0], recipe.frames, corpus_split(args.corpus[0], "validation"))
    valid = Subset(grid, range(0, len(grid), 8))
    torch.manual_seed(0)
    net, history = train(PhaseNet(), loss_of(vocoder, mel), Mixed(sets), recipe, valid, folder=args.out)
    losses = [f"{h['step']}: {h['valid']:.4f}" for h in history if "valid" in h]
    print("loss on validation songs:", ", ".join(losses), "\n")
    return net.eval()


def main():
    parser = arguments(__doc__)
    parser.add_argument("--corpus", nargs="+", required=True)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--out", type=Path, default=Path("outputs/phase"))
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(about(), end="\n\n")
    vocoder, mel = pretrained_vocoder()
    vocoder.requires_grad_(False)
    net = learn(vocoder, mel, args)
    valid = corpus_split(args.corpus[0], "validation")
    judge(net, vocoder, mel, Grid(args.corpus[0], 173, valid))


if __name__ == "__main__": main()
