"""One pass of the paper's U-Net over 190 s of stereo, as a fraction of what a large matrix product reaches in
the same run.

    python benchmarks/unet_pass.py [--frames 8192] [--repeats 3]

Prints a table (markdown): seconds, GFLOP/s, the fraction, the peak memory of the process, and the whole way
to a waveform."""
import resource
import statistics
import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from msanii import Msanii, UNet, Vocoder
from msanii.pipeline import Settings

from about import about, arguments, head, row


def seconds(f, repeats):
    f()
    times = []
    for _ in range(repeats):
        start = time.perf_counter(); f()
        if torch.cuda.is_available(): torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # kB on Linux


def one_pass(unet, frames, repeats, device, size=4096):
    "The table: a pass over `frames` frames beside a matrix product of size x size."
    x, t = torch.randn(1, 2, 128, frames, device=device), torch.tensor([500], device=device)
    with FlopCounterMode(display=False) as counter: unet(x, t)
    work = counter.get_total_flops()
    a, b = torch.randn(2, size, size, device=device).unbind()
    # both in turns, so that a neighbour on the machine slows both alike
    pairs = [(seconds(lambda: a @ b, 2), seconds(lambda: unet(x, t), 1)) for _ in range(repeats)]
    product, took = (statistics.median(p) for p in zip(*pairs))
    peak, rate = 2 * size**3 / product / 1e9, work / took / 1e9
    lasts = f"{(frames - 1) * 1024 / 44100:.1f} s"
    name = f"U-Net, {frames} frames ({lasts}), {work / 1e9:.0f} GFLOP"
    head("what", "seconds", "GFLOP/s", "fraction of the matrix product")
    row(f"matrix product, {size} x {size}", f"{product:.2f}", f"{peak:.0f}", 1)
    row(name, f"{took:.2f}", f"{rate:.0f}", f"{rate / peak:.2f}")


@torch.no_grad()
def main(frames, repeats):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    unet = UNet().to(device).eval()
    print(about("float32"), end="\n\n")
    one_pass(unet, frames, repeats, device)
    m = Msanii(unet, Vocoder(), settings=Settings(steps=2, iterations=32)).to(device)
    start = time.perf_counter()
    waveform = m.sample((frames - 1) * 1024 / 44100, via="noise", progress=False)
    total = time.perf_counter() - start
    print(f"\nFrom noise to {tuple(waveform.shape)} with 2 steps and 32 iterations of Griffin-Lim: "
          f"{total:.1f} s; peak memory of the process {memory():.2f} GB.")


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--frames", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    main(args.frames, args.repeats)
