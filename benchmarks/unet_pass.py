"""One pass of the paper's U-Net over 190 s of stereo, as a fraction of what a large matrix product reaches in the same run.

    python benchmarks/unet_pass.py [--frames 8192] [--repeats 3]

Prints a table (markdown): seconds, GFLOP/s, the fraction, the peak memory of the process, and the whole way to a waveform.
"""
import argparse
import platform
import resource
import statistics
import subprocess
import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from msanii import Msanii, UNet, Vocoder
from msanii.pipeline import Settings


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


def cpu_name():
    try: return next(line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    except (OSError, StopIteration): return platform.processor()


@torch.no_grad()
def main(frames, repeats, size=4096):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    unet = UNet().to(device).eval()
    x, t = torch.randn(1, 2, 128, frames, device=device), torch.tensor([500], device=device)
    with FlopCounterMode(display=False) as counter: unet(x, t)
    work = counter.get_total_flops()
    a, b = torch.randn(2, size, size, device=device).unbind()
    # both in turns, so that a neighbour on the machine slows both alike
    pairs = [(seconds(lambda: a @ b, 2), seconds(lambda: unet(x, t), 1)) for _ in range(repeats)]
    product, one_pass = (statistics.median(p) for p in zip(*pairs))
    peak, rate = 2 * size**3 / product / 1e9, work / one_pass / 1e9
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    print(f"{time.strftime('%Y-%m-%d')}, commit {commit}, {torch.cuda.get_device_name() if device == 'cuda' else cpu_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}, float32\n")
    print("| what | seconds | GFLOP/s | fraction of the matrix product |\n|---|---|---|---|")
    print(f"| matrix product, {size} x {size} | {product:.2f} | {peak:.0f} | 1 |")
    print(f"| U-Net, {frames} frames ({(frames - 1) * 1024 / 44100:.1f} s), {work / 1e9:.0f} GFLOP | {one_pass:.2f} | {rate:.0f} | {rate / peak:.2f} |")
    del a, b, x
    m = Msanii(unet, Vocoder(), settings=Settings(steps=2, iterations=32)).to(device)
    start = time.perf_counter()
    waveform = m.sample((frames - 1) * 1024 / 44100, progress=False)
    total = time.perf_counter() - start
    print(f"\nFrom noise to {tuple(waveform.shape)} with 2 steps and 32 iterations of Griffin-Lim: {total:.1f} s; peak memory of the process {memory():.2f} GB.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    main(args.frames, args.repeats)
