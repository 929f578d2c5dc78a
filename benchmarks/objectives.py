"""What the U-Net should predict, whether its attention should know where it is, where its loss should look,
and how loud the score should be: short runs of the shipped recipe, on windows of 6 s, that differ in one
thing each, compared on validation songs.

    python benchmarks/objectives.py --corpus FOLDER [--steps 250] [--variants v x0 ...] [--out FOLDER]

Each run is kept under `--out` as a json, in a folder for this code, these steps and this corpus; the table is
printed from all that are there: variants may run one by one. Their losses cannot be compared, being distances
to different targets. Instead each prediction is made an x_0, and its mean distance to the true one is given,
at fixed noise, averaged over five timesteps: with the score, with nothing, and inside the holes of a context.
Then the mel L1 between windows rendered from their score in 20 steps of DDIM and the true ones, and how much
they change from one frame to the next as a share of what the true ones do: below 1 is blurred, above
1 noisy."""
import json
import time
from dataclasses import replace
from pathlib import Path

import torch

import msanii.unet
from msanii.condition import SCORE_AND_CONTEXT, Condition
from msanii.corpus import Grid, Windows, corpus_about, corpus_split
from msanii.diffusion import Schedule, q_sample, target
from msanii.samplers import Clipped, Denoiser, ddim, noise, timesteps
from msanii.lessons import draw, draw_condition, draw_keep
from msanii.training import RECIPES, corpus_mel, train
from msanii.unet import UNet

from about import about, arguments, head, key, row

# the score no louder than its velocities; the context has this scale already
QUIET = [dict(field, scale=1.0) for field in SCORE_AND_CONTEXT.settings()]
VARIANTS = {
    "x0": {},
    "v": dict(objective="v"),
    "epsilon": dict(objective="epsilon"),
    "x0, rotary positions": dict(rotary=True),
    "x0, loss in the hole": dict(outside=0.1),
    "x0, roll at its own loudness": dict(condition=QUIET),
    "x0, roll at its own loudness, half the rate": dict(condition=QUIET, lr=4e-4),
}
TIMES = (100, 300, 500, 700, 900)
plain_attention = msanii.unet.linear_attention


def rotary_attention(q, k, v):
    """Linear attention whose queries and keys are turned by an angle that grows along time, so that their
    products depend on how far apart they are."""
    d, t = q.shape[-2:]
    angle = torch.arange(t) * 10_000 ** -(torch.arange(d // 2)[:, None] / (d // 2))
    def turn(x):
        a, b = x.chunk(2, dim=-2)
        return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], dim=-2)
    q, k, v = turn(q.softmax(dim=-2) / d ** 0.5), turn(k.softmax(dim=-1)), v / t
    return (v @ k.transpose(-2, -1)) @ q


def loss_of(mel, schedule, recipe, outside):
    "The loss of the recipe, a frame that is kept counting `outside` times as much as one that is to be made."
    condition = Condition(recipe.condition)
    kept = condition.places["context"].stop
    def loss(unet, batch):
        x0 = mel(batch["waveform"]).clamp(-1, 1)
        t, eps = draw(batch["index"], x0, schedule.T, recipe.seed)
        cond = draw_condition(condition, batch, x0, recipe.shown, recipe.seed)
        weight = torch.where(cond[:, :, kept : kept + 1] > 0, outside, 1.0)
        wanted = target(x0, eps, t, schedule, recipe.objective)
        away = (unet(q_sample(x0, t, eps, schedule), t, cond) - wanted).abs()
        return (weight * away).sum() / (weight.expand_as(away)).sum()
    return loss


@torch.no_grad()
def guesses(denoiser, condition, x0, roll, number):
    "Mean distances of guesses from a noisy x0 (1, c, f, t): with its score, with nothing, in a hole."
    keep = draw_keep(x0.shape[-1], torch.Generator().manual_seed(number))
    shown = dict(score=dict(score=roll), nothing={}, hole=dict(context=(x0, keep)))
    sums = dict.fromkeys(shown, 0.0)
    for t in TIMES:
        eps = noise(x0.shape, torch.Generator().manual_seed(1000 * number + t))
        xt = q_sample(x0, t, eps, denoiser(None).schedule)
        for name, given in shown.items():
            away = (denoiser(condition(x0.shape, **given))(xt, t) - x0).abs()
            sums[name] += (away[..., ~keep] if name == "hole" else away).mean().item() / len(TIMES)
    return sums


@torch.no_grad()
def judge(unet, mel, schedule, recipe, data, n=16):
    "The columns of the table, over `n` windows spread over the data."
    condition = Condition(recipe.condition)
    def denoiser(cond): return Clipped(Denoiser(unet, schedule, recipe.objective, cond))
    sums, change = dict(score=0.0, nothing=0.0, hole=0.0, rendered=0.0), [0.0, 0.0]
    for i in range(n):
        item = data[i * len(data) // n]
        x0, roll = mel(item["waveform"][None]).clamp(-1, 1), item["roll"][None]
        start = noise(x0.shape, torch.Generator().manual_seed(i))
        x = ddim(denoiser(condition(x0.shape, score=roll)), start, timesteps(20))
        found = dict(guesses(denoiser, condition, x0, roll, i), rendered=(x - x0).abs().mean().item())
        for name, away in found.items(): sums[name] += away / n
        for j, y in enumerate((x, x0)): change[j] += y.diff(dim=-1).abs().mean().item()
    return dict(sums, change=change[0] / change[1])


def run(name, args, path):
    "Train and judge one variant."
    settings = dict(VARIANTS[name])
    rotary, outside = settings.pop("rotary", False), settings.pop("outside", 1.0)
    short = dict(steps=args.steps, batch=2, frames=256, warmup=50, ema=0.9, ema_start=args.steps // 2)
    plain = {k: v for k, v in RECIPES["unet"]["shipped"].network.items() if k != "told"}
    base = dict(network=plain, condition=SCORE_AND_CONTEXT.settings(), shown=dict(score=0.75, context=0.4))
    own = {**base, "objective": "x0", "lr": 8e-4, "gain": 0.0, **settings}
    recipe = replace(RECIPES["unet"]["shipped"], **short, **own)
    msanii.unet.linear_attention = rotary_attention if rotary else plain_attention
    torch.set_num_threads(args.threads)
    songs = {part: corpus_split(args.corpus, part) for part in ("train", "validation")}
    length = recipe.steps * recipe.batch
    data = Windows(args.corpus, recipe.frames, songs["train"], length=length, seed=recipe.seed)
    valid = Grid(args.corpus, recipe.frames, songs["validation"])
    mel, schedule = corpus_mel(args.corpus), Schedule.named(recipe.schedule)
    torch.manual_seed(recipe.seed)
    began = time.perf_counter()
    unet = UNet(**recipe.network, d_cond=Condition(recipe.condition).rows)
    unet, _ = train(unet, loss_of(mel, schedule, recipe, outside), data, recipe)
    found = judge(unet, mel, schedule, recipe, valid)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(found, minutes=(time.perf_counter() - began) / 60, steps=args.steps)))


COLUMNS = {"steps": "{steps}", "x_0 with score": "{score:.4f}", "x_0 with nothing": "{nothing:.4f}",
           "x_0 in a hole": "{hole:.4f}", "mel L1, rendered": "{rendered:.4f}",
           "change between frames": "{change:.2f}"}


def main():
    parser = arguments(__doc__)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--variants", nargs="*", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--out", type=Path, default=Path("outputs/objectives"))
    args = parser.parse_args()
    top = args.out / key(__file__, steps=args.steps, corpus=corpus_about(args.corpus))
    paths = {name: top / f"{name.replace(', ', '-').replace(' ', '-')}.json" for name in VARIANTS}
    for name in args.variants:
        if not paths[name].exists(): run(name, args, paths[name])
    print(about(threads=args.threads), end="\n\n")
    head("what it predicts", *COLUMNS)
    for name, path in paths.items():
        if not path.exists(): continue
        found = json.loads(path.read_text())
        row(name, *(cell.format(**found) for cell in COLUMNS.values()))


if __name__ == "__main__": main()
