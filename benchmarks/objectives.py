"""What the U-Net should predict, whether its attention should know where it is, where its loss should look,
and how loud the score should be: short runs of the shipped recipe, on windows of 6 s, that differ in one
thing each, compared on validation songs.

    python benchmarks/objectives.py --corpus FOLDER [--steps 250] [--variants v x0 epsilon ...] [--out outputs/objectives]

Each run is kept in `--out` as a json; the table is printed from all that are there, so that variants may run
one by one. Their losses cannot be compared, being distances to different targets. Instead each prediction is
turned into an x_0, and its mean distance to the true one is given, at fixed noise, averaged over five
timesteps: with the score, with nothing, and inside the holes of a context. Then the mel L1 between windows
rendered from their score in 20 DDIM steps and the true ones, and how much they change from one frame to the
next as a share of what the true ones do: below 1 is blurred, above 1 noisy."""
import argparse, json, time
from dataclasses import replace
from pathlib import Path

import torch

import msanii.unet
from msanii.corpus import Grid, Windows, corpus_split
from msanii.diffusion import Schedule, q_sample, target, to_x0
from msanii.samplers import ddim, noise, timesteps
from msanii.training import RECIPES, corpus_mel, draw, draw_condition, draw_keep, train
from msanii.unet import UNet, condition

VARIANTS = {"x0": {}, "v": dict(objective="v"), "epsilon": dict(objective="epsilon"),
            "x0, rotary positions": dict(rotary=True), "x0, loss in the hole": dict(outside=0.1),
            "x0, roll at its own loudness": dict(loud=1),
            "x0, roll at its own loudness, half the rate": dict(loud=1, lr=4e-4)}
TIMES = (100, 300, 500, 700, 900)
plain_attention, LOUD_ROLL = msanii.unet.linear_attention, msanii.unet.LOUD_ROLL


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
    def loss(unet, batch):
        x0 = mel(batch["waveform"]).clamp(-1, 1)
        t, eps = draw(batch["index"], x0, schedule.T, recipe.seed)
        cond = draw_condition(batch, x0, recipe.score, recipe.context, recipe.seed)
        weight = torch.where(cond[:, :, -1:] > 0, outside, 1.0)
        away = (unet(q_sample(x0, t, eps, schedule), t, cond)
                - target(x0, eps, t, schedule, recipe.objective)).abs()
        return (weight * away).sum() / (weight.expand_as(away)).sum()
    return loss


@torch.no_grad()
def judge(unet, mel, schedule, recipe, data, n=16):
    "The columns of the table, over `n` windows spread over the data."
    items = [data[i * len(data) // n] for i in range(n)]
    sums = dict(score=0.0, nothing=0.0, hole=0.0)
    for i, item in enumerate(items):
        x0, roll = mel(item["waveform"][None]).clamp(-1, 1), item["roll"][None]
        keep = draw_keep(x0.shape[-1], torch.Generator().manual_seed(i))
        conds = dict(score=condition(x0.shape, roll), nothing=condition(x0.shape),
                     hole=condition(x0.shape, None, x0, keep))
        for t in TIMES:
            xt = q_sample(x0, t, noise(x0.shape, torch.Generator().manual_seed(1000 * i + t)), schedule)
            for name, cond in conds.items():
                away = (to_x0(unet(xt, torch.tensor([t]), cond), xt, t, schedule, recipe.objective).clamp(-1,
                    1) - x0).abs()
                sums[name] += (away[..., ~keep] if name == "hole" else away).mean().item() / (n * len(TIMES))
    rendered, change = 0.0, [0.0, 0.0]
    for i, item in enumerate(items):
        x0 = mel(item["waveform"][None]).clamp(-1, 1)
        cond = condition(x0.shape, item["roll"][None])
        x = ddim(lambda x, t: unet(x, t, cond), noise(x0.shape, torch.Generator().manual_seed(i)),
                 timesteps(20), schedule, recipe.objective, clip=True).clamp(-1, 1)
        rendered += (x - x0).abs().mean().item() / n
        for j, y in enumerate((x, x0)): change[j] += y.diff(dim=-1).abs().mean().item()
    return dict(sums, rendered=rendered, change=change[0] / change[1])


def run(name, args, path):
    "Train and judge one variant."
    settings = dict(VARIANTS[name])
    rotary, outside, msanii.unet.LOUD_ROLL = settings.pop("rotary", False), settings.pop("outside",
        1.0), settings.pop("loud", LOUD_ROLL)
    recipe = replace(RECIPES["unet"]["shipped"], steps=args.steps, batch=2, frames=256, warmup=50, ema=0.9,
                     ema_start=args.steps // 2, **{"objective": "x0", "lr": 8e-4, **settings})
    msanii.unet.linear_attention = rotary_attention if rotary else plain_attention
    torch.set_num_threads(args.threads)
    data = Windows(args.corpus, recipe.frames, corpus_split(args.corpus, "train"),
                   length=recipe.steps * recipe.batch, seed=recipe.seed)
    valid = Grid(args.corpus, recipe.frames, corpus_split(args.corpus, "validation"))
    mel, schedule = corpus_mel(args.corpus), Schedule.named(recipe.schedule)
    torch.manual_seed(recipe.seed)
    began = time.perf_counter()
    unet, _ = train(UNet(**recipe.network), loss_of(mel, schedule, recipe, outside), data, recipe)
    found = dict(judge(unet, mel, schedule, recipe, valid), minutes=(time.perf_counter() - began) / 60,
                 steps=args.steps)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--variants", nargs="*", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--out", type=Path, default=Path("outputs/objectives"))
    args = parser.parse_args()
    for name in args.variants:
        path = args.out / f"{name.replace(', ', '-').replace(' ', '-')}.json"
        if not path.exists(): run(name, args, path)
    print("| what it predicts | steps | x_0 with score | x_0 with nothing | x_0 in a hole | mel L1, rendered | change between frames |\n|---|---|---|---|---|---|---|")
    for name in VARIANTS:
        path = args.out / f"{name.replace(', ', '-').replace(' ', '-')}.json"
        if path.exists():
            print("| {} | {steps} | {score:.4f} | {nothing:.4f} | {hole:.4f} | {rendered:.4f} | {change:.2f} |".format(name, **json.loads(path.read_text())))


if __name__ == "__main__": main()
