"""How should a denoiser use a first guess? Four forms of the U-Net, trained alike for some steps, and none.

    python benchmarks/correction.py --corpus FOLDER [--steps 150] [--kinds untaught plain ...]

FOLDER: `msanii corpus --data <pop909.zip> --songs 1-799 --seconds 30 --out FOLDER`. untaught: no network, the
guess or else x_t; plain: told nothing, ever; bayes: the posterior mean of guess and x_t, and the network's
output times its deviation; beside: the guess is among the rows of the condition and nothing more; added:
`msanii.correction.Corrector`, the output added to the guess. The score is shown to half of the windows
(never, for plain). Printed: distance of the estimate of x_0 from the truth on validation songs, without the
score and with it, at six timesteps and the same noise."""

import functools
import time
from dataclasses import replace

import numpy as np
import torch

from msanii import Msanii
from msanii.condition import BAND_AND_CONTEXT
from msanii.correction import Corrector
from msanii.corpus import Grid, Windows, corpus_split
from msanii.diffusion import Schedule, q_sample
from msanii.samplers import noise
from msanii.templates import Templates
from msanii.lessons import at_level, unet_loss
from msanii.training import RECIPES, train
from msanii.unet import UNet

from about import about, arguments, head, row

TIMES = 20, 100, 300, 500, 700, 900


class Bayes(Corrector):
    "The posterior mean, and the output times what is unknown."

    def forward(self, x_t, t, cond):
        told = cond[:, :1, self.told : self.told + 1]
        g, s = told * cond[:, :, : self.d_freq], torch.where(told > 0, self.spread, 0.6)
        alpha, sigma = self.schedule.alpha(t, x_t), self.schedule.sigma(t, x_t)
        v, unknown = alpha**2 * s**2 + sigma**2, x_t - alpha * g
        out = UNet.forward(self, unknown / v.sqrt(), t, cond)
        return g + alpha * s**2 / v * unknown + s * sigma / v.sqrt() * out


class Beside(Corrector):
    "The guess is a row among others."

    def forward(self, x_t, t, cond):
        return UNet.forward(self, x_t, t, cond)


class Untaught(Corrector):
    "No network: the guess where the score is shown, x_t itself elsewhere."

    def forward(self, x_t, t, cond):
        told = cond[:, :1, self.told : self.told + 1]
        return torch.where(told > 0, cond[:, :, : self.d_freq], x_t)


KINDS = dict(untaught=Untaught, plain=Beside, bayes=Bayes, beside=Beside, added=Corrector)


def errors(net, mel, valid, schedule, told):
    "Mean distance at each of TIMES."
    found = []
    for i in range(0, len(valid), max(1, len(valid) // 6)):
        item = {k: v[None] for k, v in valid[i].items() if torch.is_tensor(v)}
        batch = at_level(dict(item, index=torch.tensor([i])), mel)
        x0 = mel(batch["waveform"]).clamp(-1, 1)
        cond = BAND_AND_CONTEXT(x0.shape, score=batch["roll"] if told else None)
        eps = noise(x0.shape, torch.Generator().manual_seed(i))
        with torch.no_grad():
            guesses = [
                net(q_sample(x0, t, eps, schedule), t, cond) for t in map(lambda t: torch.tensor([t]), TIMES)
            ]
        found.append([(guess - x0).abs().mean().item() for guess in guesses])
    return np.mean(found, 0)


def main():
    parser = arguments(__doc__)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--kinds", nargs="*", default=[*KINDS])
    args = parser.parse_args()
    mel, templates = Msanii.from_pretrained(device="cpu").mel, Templates.load()
    schedule = Schedule.named("cosine")
    print(about(f"{args.steps} steps"), end="\n\n")
    head("form", "shown", *(f"t = {t}" for t in TIMES), "minutes")
    for kind in args.kinds:
        shown = dict(score=0.0 if kind == "plain" else 0.5, context=0.3)
        recipe = replace(
            RECIPES["unet"]["shipped"],
            steps=args.steps,
            ema=0.95,
            ema_every=5,
            ema_start=args.steps // 2,
            warmup=50,
            shown=shown,
            gain=0.0,
            lr=8e-4,
        )
        torch.manual_seed(0)
        net, began = KINDS[kind](**recipe.network, d_cond=BAND_AND_CONTEXT.rows), time.perf_counter()
        how = dict(frames=recipe.frames, guess=templates.guess)
        valid = Grid(args.corpus, numbers=corpus_split(args.corpus, "validation"), **how)
        if kind != "untaught":
            numbers = corpus_split(args.corpus, "train")
            data = Windows(args.corpus, numbers=numbers, length=args.steps * recipe.batch, **how)
            loss = functools.partial(
                unet_loss, mel=mel, schedule=schedule, objective="x0", condition=BAND_AND_CONTEXT, shown=shown
            )
            net, _ = train(net, loss, data, recipe)
        minutes = (time.perf_counter() - began) / 60
        for told in (False, True)[: 1 + (kind != "plain")]:
            cells = [f"{e:.3f}" for e in errors(net.eval(), mel, valid, schedule, told)]
            row(kind, "the score" if told else "nothing", *cells, f"{minutes:.1f}")


if __name__ == "__main__":
    main()
