"""Training speed, as ratios within one run: the U-Net against a plain transcription of the paper's network
and against a large matrix product, the loader against the training step, rendering, and on a GPU half
precision, compilation and memory.

    python benchmarks/training.py [--threads 2] [--frames 8192] [--repeats 5] [--corpus FOLDER]
                                  [--gpu-tflops 60]

Prints tables (markdown). Forms that are compared run in turns, so that a neighbour on the machine slows all
alike; figures are medians."""
import itertools
import math
import resource
import statistics
import tempfile
import time

import torch
from torch import nn
from torch.nn import functional as F

from msanii import UNet
from msanii.corpus import Windows, render_corpus
from msanii.pop909 import Composed
from msanii.score import render_score
from msanii.unet import sinusoid

from about import about, arguments, head, row

FULL_GFLOP, FULL = 403, 8192        # operations of a pass over 8,192 frames, as plain layers; a step is three
STEP_FRAMES, SONG = 512, 190.2      # frames of a training window; seconds in 8,192 frames
PAPER_HOURS, PAPER_EPOCHS, PAPER_BATCH = 63, 501, 4


def gflop(frames): return FULL_GFLOP * frames / FULL


# The paper's network as its facts read, layer by layer, with torch's own layers and nothing else

class PlainBlock(nn.Module):
    def __init__(self, d_in, d=256):
        super().__init__()
        self.norm, self.conv = nn.InstanceNorm2d(d_in), nn.Conv2d(d_in, d, 3, padding=1)
        self.time = nn.Conv2d(128, d, 1)
        self.expand, self.contract = nn.Conv2d(d, 4 * d, 1), nn.Conv2d(4 * d, d, 1)
        self.skip = nn.Conv2d(d_in, d, 1) if d_in != d else nn.Identity()

    def forward(self, h, e):
        u = F.gelu(self.conv(self.norm(h)) + self.time(e[:, :, None, None]))
        return self.contract(F.gelu(self.expand(u))) + self.skip(h)


class PlainAttention(nn.Module):
    def __init__(self, d=256, heads=8):
        super().__init__()
        self.heads, self.norm = heads, nn.InstanceNorm2d(d)
        self.qkv, self.out = nn.Conv2d(d, 3 * d, 1), nn.Conv2d(d, d, 1)

    def forward(self, h):
        b, d, c, t = h.shape
        qkv = self.qkv(self.norm(h)).chunk(3, dim=1)
        q, k, v = (x.reshape(b, self.heads, d // self.heads, c, t) for x in qkv)
        q, k = q.softmax(2) * (d // self.heads) ** -0.5, k.softmax(-1)
        context = torch.einsum("bhdct,bhect->bhcde", k, v / t)
        return self.out(torch.einsum("bhcde,bhdct->bhect", context, q).reshape(b, d, c, t)) + h


class PlainUNet(nn.Module):
    def __init__(self, levels=7, attention=2):
        super().__init__()
        attends = [i >= levels - attention for i in range(levels)]
        pair = lambda d_in, on: nn.ModuleList([PlainBlock(d_in), PlainAttention() if on else nn.Identity()])
        level = lambda d_in, on: nn.ModuleList(pair(d_in, on) for _ in range(2))
        self.time = nn.Sequential(nn.Linear(128, 512), nn.GELU(), nn.Linear(512, 128))
        self.input = nn.Conv2d(128, 256, 1)
        self.down = nn.ModuleList(level(256, on) for on in attends)
        self.downsample = nn.ModuleList(nn.Conv2d(256, 256, (1, 3), (1, 2), (0, 1)) for _ in attends[1:])
        self.middle = nn.ModuleList([PlainBlock(256), PlainAttention(), PlainBlock(256)])
        self.up = nn.ModuleList(level(512, on) for on in attends)
        up = lambda: nn.ConvTranspose2d(256, 256, (1, 4), (1, 2), (0, 1))
        self.upsample = nn.ModuleList(up() for _ in attends[1:])
        self.output = nn.Conv2d(256, 128, 1)

    def forward(self, x, t):
        e, h, skips = self.time(sinusoid(t)), self.input(x.transpose(1, 2)), []
        for i, layers in enumerate(self.down):
            if i: h = self.downsample[i - 1](h)
            for block, attend in layers:
                h = attend(block(h, e))
                skips.append(h)
        h = self.middle[2](self.middle[1](self.middle[0](h, e)), e)
        for i in reversed(range(len(self.up))):
            for block, attend in self.up[i]: h = attend(block(torch.cat([h, skips.pop()], dim=1), e))
            if i: h = self.upsample[i - 1](h)
        return self.output(h).transpose(1, 2)

    def take(self, unet):
        "The weights of `unet`, whose layers have the same names but for the timestep's."
        names = {"time.expand": "time.0", "time.contract": "time.2"}
        state = {}
        for name, value in unet.state_dict().items():
            top, _, last = name.rpartition(".")
            linear = top.endswith(".time") and last == "weight"  # of a block: here a 1x1 convolution
            state[f"{names.get(top, top)}.{last}"] = value[..., None, None] if linear else value
        self.load_state_dict(state)
        return self


# Measuring

def sync():
    if torch.cuda.is_available(): torch.cuda.synchronize()


def in_turns(forms, repeats):
    "Median seconds of each of the functions, run in turns after one round to warm up."
    times = {name: [] for name in forms}
    for i in range(repeats + 1):
        for name, f in forms.items():
            sync(); start = time.perf_counter(); f(); sync()
            if i: times[name].append(time.perf_counter() - start)
    return {name: statistics.median(t) for name, t in times.items()}


def product(size, device="cpu", dtype=torch.float32):
    "A matrix product, and its operations in GFLOP."
    a, b = torch.randn(2, size, size, device=device, dtype=dtype).unbind()
    return lambda: a @ b, 2 * size**3 / 1e9


def stepper(net, x, t):
    "One training step: forward, backward, Adam."
    opt, eps = torch.optim.Adam(net.parameters(), lr=1e-6, betas=(0.5, 0.999)), torch.randn_like(x)
    def step():
        opt.zero_grad()
        F.l1_loss(net(x, t), eps).backward()
        opt.step()
    return step


def beside_a_product(what, forms, work, repeats, size=2048):
    """Rows of the forms of `what`, each of `work` GFLOP, in turns with a matrix product.

    Returns the seconds that msanii's form takes."""
    f, square = product(size)
    measured = in_turns({"product": f, **forms}, repeats)
    rate, plain = square / measured["product"], measured["plain"]
    name = f"matrix product, {size} x {size}, in turns with the following"
    row(name, f"{measured['product']:.3f}", f"{rate:.0f}", 1, "")
    for name in forms:
        s = measured[name]
        row(f"{what}, {name}", f"{s:.2f}", f"{work / s:.0f}", f"{work / s / rate:.2f}", f"{plain / s:.2f}")
    return measured["msanii"]


def network(frames, repeats):
    """Table of forward pass and training step on the processor.

    Returns the windows that msanii's step consumes in a second."""
    torch.manual_seed(0)
    unet = UNet().eval()
    plain, t = PlainUNet().eval().take(unet), torch.tensor([500])
    head("what", "seconds", "GFLOP/s", "fraction of the matrix product", "times the plain form")
    x = torch.randn(1, 2, 128, frames)
    with torch.no_grad():
        difference = (plain(x, t) - unet(x, t)).abs().max().item()
        forms = {"plain": lambda: plain(x, t), "msanii": lambda: unet(x, t)}
        beside_a_product(f"forward, {frames} frames", forms, gflop(frames), repeats)
    x = torch.randn(1, 2, 128, STEP_FRAMES)
    forms = {"plain": stepper(plain.train(), x, t), "msanii": stepper(unet.train(), x, t)}
    step = beside_a_product(f"step, {STEP_FRAMES} frames, batch 1", forms, 3 * gflop(STEP_FRAMES), repeats)
    print(f"\nLargest difference of the outputs with the same weights, {frames} frames: {difference:.1e}. "
          f"Peak memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB.")
    return 1 / step


def loader(folder, consumed, tflops, repeats, windows=50):
    "Table of what is read from a corpus, beside what a training step consumes here and would on a GPU."
    data = Windows(folder, frames=STEP_FRAMES, length=windows * (repeats + 1))
    order = iter(range(len(data)))
    read = windows / in_turns({"read": lambda: [data[next(order)] for _ in range(windows)]}, repeats)["read"]
    gpu = tflops * 1e3 / (3 * gflop(STEP_FRAMES))
    print()
    head(f"windows of {STEP_FRAMES} frames a second", "", "the loader's share of it")
    row("read by the loader, one process, roll included", f"{read:.0f}", "")
    row("consumed by the training step here", f"{consumed:.2f}", f"{read / consumed:.0f}")
    row(f"consumed by a GPU at {tflops:g} TFLOP/s sustained (by calculation)", f"{gpu:.0f}",
        f"{read / gpu:.2f}: {math.ceil(gpu / read)} reading processes keep up")


def rendering(repeats, seconds=60.0):
    "Seconds of audio that one core renders in a second."
    score = Composed(1, seconds)[1].midi
    took = in_turns({"render": lambda: render_score(score)}, repeats)["render"]
    print(f"\nRendering a score to stereo: {seconds / took:.0f} seconds of audio per second and core.")


# On a GPU

def gpu(repeats, batch=PAPER_BATCH):
    "Tables of the U-Net at the paper's size: songs a second in half precision, and training steps."
    print()
    head("GPU, 8192 frames", "songs of 190 s a second", "TFLOP/s", "fraction of the matrix product")
    for dtype in (torch.float16, torch.bfloat16):
        f, work = product(8192, "cuda", dtype)
        rate = work / in_turns({"product": f}, repeats)["product"]
        row(f"matrix product, 8192 x 8192, {dtype}", "", f"{rate / 1e3:.0f}", 1)
        for last, compiled in itertools.product((False, True), (False, True)):
            how = ", ".join([str(dtype)] + ["channels_last"] * last + ["torch.compile"] * compiled)
            name = f"forward, batch {batch}, {how}"
            try: passes = batch / gpu_seconds(dtype, last, compiled, batch, repeats)
            except RuntimeError as error:  # out of memory, or no compiler
                row(name, type(error).__name__, "", "")
                continue
            work = passes * FULL_GFLOP
            row(name, f"{passes:.2f}", f"{work / 1e3:.1f}", f"{work / rate:.2f}")
    for dtype, compiled in itertools.product((torch.float16, torch.bfloat16), (False, True)):
        name = f"\nTraining step, batch {batch}, {dtype}{', torch.compile' * compiled}"
        try: print(f"{name}: {gpu_step(dtype, compiled, batch, repeats)}", flush=True)
        except RuntimeError as error: print(f"{name}: {type(error).__name__}", flush=True)


def gpu_network(last, compiled):
    net = UNet().cuda()
    if last: net = net.to(memory_format=torch.channels_last)
    return net, torch.compile(net) if compiled else net


@torch.no_grad()
def gpu_seconds(dtype, last, compiled, batch, repeats):
    torch.manual_seed(0)
    _, net = gpu_network(last, compiled)
    x, t = torch.randn(batch, 2, 128, FULL, device="cuda"), torch.full((batch,), 500, device="cuda")
    def forward():
        with torch.autocast("cuda", dtype): net(x, t)
    return in_turns({"forward": forward}, repeats)["forward"]


def gpu_step(dtype, compiled, batch, repeats):
    """A training step as msanii.training takes it, in words: autocast, loss scaling for fp16, clipped
    gradients, Adam."""
    torch.cuda.empty_cache(); torch.cuda.reset_peak_memory_stats()
    torch.manual_seed(0)
    plain, net = gpu_network(False, compiled)
    opt = torch.optim.Adam(plain.parameters(), lr=1e-6, betas=(0.5, 0.999))
    scaler = torch.amp.GradScaler("cuda", enabled=dtype == torch.float16)
    x, t = torch.randn(batch, 2, 128, FULL, device="cuda"), torch.full((batch,), 500, device="cuda")
    def step():
        with torch.autocast("cuda", dtype): out = net(x, t)
        opt.zero_grad()
        scaler.scale(F.l1_loss(out.float(), x)).backward()
        scaler.unscale_(opt)
        nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        scaler.step(opt); scaler.update()
    seconds = in_turns({"step": step}, repeats)["step"]
    hours = PAPER_EPOCHS * PAPER_HOURS * 3600 / SONG / batch * seconds / 3600
    tflops, memory = 3 * batch * FULL_GFLOP / seconds / 1e3, torch.cuda.max_memory_allocated() / 1e9
    return (f"{seconds:.3f} s, {tflops:.1f} TFLOP/s, peak memory {memory:.1f} GB; "
            f"the paper's schedule would take {hours:.1f} hours.")


def main(threads, frames, repeats, corpus, tflops):
    if threads: torch.set_num_threads(threads)
    print(about("float32"), end="\n\n")
    consumed = network(frames, repeats)
    with tempfile.TemporaryDirectory() as folder:
        if corpus is None: corpus = render_corpus(Composed(4, 60.0), folder, n_jobs=1, progress=False)
        loader(corpus, consumed, tflops, repeats)
    rendering(repeats)
    if torch.cuda.is_available(): gpu(repeats)
    else:
        print("\nNo GPU here: songs a second in half precision, memory and the hours of the paper's schedule "
              "were not measured.")


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--threads", type=int, help="of the processor; all by default")
    parser.add_argument("--frames", type=int, default=FULL, help="of the forward pass, a multiple of 64")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--corpus", help="folder with a rendered corpus; without it, four songs are composed")
    parser.add_argument("--gpu-tflops", type=float, default=60.0,
                        help="rate that a GPU is assumed to sustain, for the loader's comparison")
    args = parser.parse_args()
    if args.frames % 64: parser.error("--frames must be a multiple of 64")
    main(args.threads, args.frames, args.repeats, args.corpus, args.gpu_tflops)
