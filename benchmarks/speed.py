"""How fast music is made: seconds of music in a second of computing, by task, length and threads, what time
and memory go to, and other ways to go, each beside the paper's network in the same run.

    python benchmarks/speed.py [--seconds 10 60 190 600 3600] [--threads 1 2] [--repeats 3] [--songs 780-789]
                               [--tables tasks shares ways waiting] [--ways-seconds 190]

Every measure is a process of its own, so that its peak memory is its own; of repeats the fastest counts.
Long pieces, 600 s and more, are only rendered (into a file) and composed.

tasks: what is made is counted: the whole piece of sample, compose, render and style transfer, of inpainting
and outpainting the third that is new. paper: a plain transcription of the paper's network, layer by layer,
20 passes over the whole, its vocoder, 100 iterations of Griffin-Lim from random phases; untrained, for its
time alone. In the tables of tasks and ways its time is that of `--paper-seconds`.

shares: of U-Net, vocoder and phase in a rendering; the rest is score, first guess, texture, file. slope: of
the logarithm of time over that of length, from the shortest length to the longest, 1 being in proportion.

ways: a score is rendered by torch alone (eager), by ONNX Runtime, with weights of 8 bits (dynamic
quantisation by ONNX Runtime), with channels last in memory, and with fewer passes, from noise or from the
noised first guess at t. Chroma similarity, onset F1 and mel L1 are those of benchmarks/render.py, on 10 s
of each song: a way pays if it is faster and they stay.

waiting: passes a second of the U-Net over one window, threads that spin and that sleep, alone and beside as
many busy programs as there are cores."""
import functools
import json
import math
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from msanii.speed import asleep

from about import about, arguments, head, row

LONG = 600              # from so many seconds on only `LONG_TASKS`
LONG_TASKS = "compose", "render"
TASKS = "sample", "compose", "render", "style transfer", "interpolate", "inpaint", "outpaint", "from noise"
WAYS = {  # name: (what runs the networks, passes, where the walk begins)
    "eager, 20 passes": ("eager", 20, None), "eager": ("eager", None, None), "ONNX": ("onnx", None, None),
    "int8": ("int8", None, None), "channels last": ("channels last", None, None),
    **{f"ONNX, {n} passes": ("onnx", n, None) for n in (3, 2, 1)},
    **{f"ONNX, from t = {t}, {n} passes": ("onnx", n, t) for t in (600, 450, 300) for n in (3, 2, 1)}}
WAITING = {  # how threads wait
    "spin": dict(OMP_WAIT_POLICY="active"), "sleep": dict(OMP_WAIT_POLICY="passive", GOMP_SPINCOUNT="0"),
    "torch's own way": {}}


class Clock:
    "Seconds by name, of functions that are wrapped."
    def __init__(self): self.seconds = {}

    def of(self, name, f):
        @functools.wraps(f, updated=())
        def timed(*args, **how):
            began = time.perf_counter()
            try: return f(*args, **how)
            finally: self.seconds[name] = self.seconds.get(name, 0) + time.perf_counter() - began
        return timed

    def watch(self, m):
        "Take the time of a model's networks, and of the phase."
        from msanii import Msanii, long, pipeline
        names = {"unet": "U-Net", "vocoder": "vocoder"}
        network = m.__dict__.get("network") or functools.partial(Msanii.network, m)
        m.network = lambda name: self.of(names[name], network(name))
        for module, name in ((pipeline, "griffin_lim"), (long, "rebuild")):
            setattr(module, name, self.of("phase", getattr(module, name)))


def quantised(m, folder):
    "Run the U-Net with weights of 8 bits."
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from msanii.speed import OnnxUNet, example_of, open_session, to_onnx
    plain, small = Path(folder) / "plain.onnx", Path(folder) / "int8.onnx"
    plain.write_bytes(to_onnx(*example_of(m, "unet")))
    quantize_dynamic(plain, small, weight_type=QuantType.QUInt8)
    run, network = OnnxUNet(m.unet, open_session(small)), m.network
    m.network = lambda name: run if name == "unet" else network(name)


def model(way, weights=None):
    "A model whose networks are run in a way."
    import torch
    os.environ["MSANII_ONNX"] = str(int(way in ("onnx", "int8")))
    from msanii import Msanii
    from msanii.speed import has_onnx
    m = Msanii.from_pretrained(weights, device="cpu")
    if way in ("onnx", "int8") and not has_onnx(): raise SystemExit("this way needs the extra onnx")
    if way == "int8":
        with tempfile.TemporaryDirectory() as folder: quantised(m, folder)
    if way == "channels last": m.unet.to(memory_format=torch.channels_last)
    return m


def render(m, score, steps=None, start=None, seed=0, into=None):
    "`Msanii.render`; from the first guess, noised to timestep `start`, if one is given; into a file, too."
    from msanii.diffusion import q_sample
    from msanii.walk import Walk
    how = dict(seed=seed, steps=steps, progress=False)
    if start is None: return m.render_file(score, into, **how) if into else m.render(score, **how)
    down, guess = Walk.down, m.first_guess
    def nearer(walk, x, ts, generator, denoiser):
        ts = walk.timesteps((start + 1) / m.schedule.T)
        told = denoiser.inner.inner.cond  # of the denoiser within windows, within a clip
        return down(walk, q_sample(guess(told), ts[0], x, m.schedule), ts, generator, denoiser)
    Walk.down = nearer
    try: return m.render_file(score, into, **how) if into else m.render(score, **how)
    finally: Walk.down = down


def work(m, task, seconds, steps, start, folder):
    "A function that does a task once and returns the seconds of music that are new; all it needs is there."
    import torch
    from msanii.score import song_by_rules
    score, n = song_by_rules(1, seconds=seconds), round(seconds * 44_100)
    noise = torch.zeros(2, 0)
    if task in ("style transfer", "interpolate", "inpaint", "outpaint"):  # else its memory would count
        noise = 0.1 * torch.randn(2, n, generator=torch.Generator().manual_seed(0))
    how = dict(steps=steps, progress=False)
    third, into = seconds / 3, Path(folder) / "a.wav"
    does = {
        "sample": lambda: m.sample(seconds, **how),
        "from noise": lambda: m.sample(seconds, via="noise", **how),
        "compose": lambda: m.compose(max(seconds, 8), progress=False),
        "render": lambda: render(m, score, steps, start, into=into),
        "style transfer": lambda: m.style_transfer(noise, **how),
        "interpolate": lambda: m.interpolate(noise, noise.flip(-1), **how),
        "inpaint": lambda: m.inpaint(noise, [(third, 2 * third)], **how),
        "outpaint": lambda: m.outpaint(noise, third, **how)}
    made = {"inpaint": third, "outpaint": third, "compose": max(seconds, 8)}
    return does[task], made.get(task, seconds)


def papers(seconds):
    "The paper's way: 20 passes of its network over the whole, its vocoder, 100 iterations of Griffin-Lim."
    import torch
    from training import PlainUNet
    from msanii import Vocoder
    from msanii.diffusion import Schedule
    from msanii.samplers import Denoiser, ddim, timesteps
    unet, vocoder = PlainUNet().eval(), Vocoder().eval()
    frames = math.ceil(round(seconds * 44_100 / 1024 + 1) / 64) * 64
    window, how = torch.hann_window(2048), dict(n_fft=2048, hop_length=1024)

    def make():
        gen = torch.Generator().manual_seed(0)
        x = torch.randn(1, 2, 128, frames, generator=gen)
        S = vocoder(ddim(Denoiser(unet, Schedule.named("cosine")), x, timesteps(20)).clamp(-1, 1))[0]
        phase = torch.polar(torch.ones_like(S), 6.2832 * torch.rand(S.shape, generator=gen))
        for _ in range(100):
            wave = torch.istft(S * phase, window=window, **how)
            phase = torch.stft(wave, window=window, return_complex=True, **how)
            phase = phase / phase.abs().clamp(min=1e-9)
        return torch.istft(S * phase, window=window, **how)
    return make


def measure(task, seconds, threads, way="onnx", steps=None, start=None, repeats=1, weights=None):
    "What a process of its own prints: seconds, music, shares, GB."
    import torch
    torch.set_num_threads(threads)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        if task == "paper": do, music = papers(seconds), seconds
        else:
            m = model(way, weights)
            do, music = work(m, task, seconds, steps, start, folder)
            if task != "compose": m.render(_bar(), steps=1, progress=False)  # sessions are opened
            clock.watch(m)
        best = None
        for _ in range(repeats):
            clock.seconds.clear()
            began = time.perf_counter()
            do()
            took = time.perf_counter() - began
            if best is None or took < best[0]: best = took, dict(clock.seconds)
    return dict(seconds=best[0], music=music, shares=best[1], gb=peak())


def peak():
    "The most memory that this process has held, GB. getrusage counts what its parent held, too."
    try: return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1e6
    except OSError: return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def _bar():
    from msanii.score import song_by_rules
    return song_by_rules(1, seconds=2)


def asked(**what):
    "`measure`, in a process of its own."
    env = asleep({**os.environ, "OMP_NUM_THREADS": str(what["threads"])})
    words = [sys.executable, __file__, "--measure", json.dumps(what)]
    return json.loads(subprocess.check_output(words, env=env, text=True).splitlines()[-1])


def times(found):
    "Seconds of music in a second."
    return found["music"] / found["seconds"]


def fmt(x): return f"{x:.3g}"


def tasks(args, found):
    "The table of tasks: seconds of music in a second, beside the paper's way."
    columns = [(threads, s) for threads in args.threads for s in args.seconds]
    name = lambda threads, s: f"{s:g} s, {'one thread' if threads == 1 else f'{threads} threads'}"
    head("task", *(name(*c) for c in columns))
    for task in args.tasks:
        cells = []
        for threads, s in columns:
            if s >= LONG and task not in LONG_TASKS: cells.append("")
            else:
                found[task, threads, s] = asked(task=task, seconds=s, threads=threads, **args.how)
                cells.append(fmt(times(found[task, threads, s])))
        row(task, *cells)
    for threads in args.threads: found["paper", threads] = paper(args, threads)
    row("the paper's way, plain", *(fmt(times(found["paper", t])) for t, _ in columns))


def paper(args, threads):
    return asked(task="paper", seconds=args.paper_seconds, threads=threads, repeats=args.how["repeats"])


def shares(args, found):
    "The table of shares and memory of a rendering, and how time grows with length."
    parts = "U-Net", "vocoder", "phase"
    head("rendered", "threads", *parts, "the rest", "seconds", "times as fast as it plays", "GB")
    for threads in args.threads:
        for s in args.seconds:
            one = found.get(("render", threads, s))
            one = one or asked(task="render", seconds=s, threads=threads, **args.how)
            found["render", threads, s], each = one, [one["shares"].get(p, 0) / one["seconds"] for p in parts]
            row(f"{s:g} s", threads, *(f"{x:.0%}" for x in [*each, 1 - sum(each)]), fmt(one["seconds"]),
                fmt(times(one)), f"{one['gb']:.2f}")
    for threads in args.threads:
        a, b = (found["render", threads, s] for s in (min(args.seconds), max(args.seconds)))
        if a is not b:
            slope = math.log(b["seconds"] / a["seconds"]) / math.log(b["music"] / a["music"])
            print(f"\nSlope of time against length, {threads} thread{'s' * (threads > 1)}: {slope:.3f}")


def quality(way, steps, start, numbers, weights):
    "Means over songs of chroma similarity, onset F1 and mel L1 of a way."
    import numpy as np
    import torch
    from render import compare, cut, hearing, sound
    from msanii.pop909 import open_songs
    m, songs, found = model(way, weights), open_songs(), []
    for number in numbers:
        score = cut(songs[number].score, 20, 10)
        true = sound(score, 441_000)
        made = render(m, score, steps, start, number)
        made = torch.nn.functional.pad(made, (0, 441_000))[:, :441_000]
        found.append(compare(made, true, hearing(true), m))
    return {k: float(np.mean([f[k] for f in found])) for k in found[0]}


def ways(args, found):
    "The table of ways: speed, against eager and the paper's, and quality."
    head("way", "threads", "times as fast as it plays", "as eager", "as the paper's", "GB",
         "chroma similarity", "onset F1", "mel L1")
    good = {}
    for name, (way, steps, start) in WAYS.items():
        if args.numbers: good[name] = quality(way, steps, start, args.numbers, args.weights)
    for threads in args.threads:
        if ("paper", threads) not in found: found["paper", threads] = paper(args, threads)
        eager = None
        for name, (way, steps, start) in WAYS.items():
            how = {**args.how, "way": way, "steps": steps, "start": start}
            one = asked(task="render", seconds=args.ways_seconds, threads=threads, **how)
            if name == "eager": eager = one
            cells = [f"{x:.3f}" for x in good[name].values()] if good else ["", "", ""]
            row(name, threads, fmt(times(one)), fmt(times(one) / times(eager)) if eager else "",
                fmt(times(one) / times(found["paper", threads])), f"{one['gb']:.2f}", *cells)


PASSES = """
import sys, time, torch
from msanii import Msanii
m = Msanii.from_pretrained(sys.argv[2] or None, device="cpu")
torch.set_num_threads(int(sys.argv[1]))
x, t, n = torch.randn(1, 2, 128, 512), torch.tensor([500]), 0
with torch.no_grad():
    run = m.network("unet")
    run(x, t)
    began = time.perf_counter()
    while time.perf_counter() - began < float(sys.argv[3]): run(x, t); n += 1
print(n / (time.perf_counter() - began))
"""


def passes(how, switch, threads, weights, seconds):
    env = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    words = [sys.executable, "-c", PASSES, str(threads), weights or "", str(seconds)]
    env |= {**WAITING[how], "OMP_NUM_THREADS": str(threads), "MSANII_ONNX": switch}
    return float(subprocess.check_output(words, env=env, text=True))


def waiting(args, found):
    "The table of waiting: passes a second."
    threads, cases = max(args.threads), [("torch", "0"), ("ONNX Runtime", "1")]
    where = "alone", "beside others"
    head("threads that wait", *(f"{who}, {w}" for who, _ in cases for w in where))
    for how in WAITING:
        cells = []
        for _, switch in cases:
            cells.append(passes(how, switch, threads, args.weights, args.wait))
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
            busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(cores)]
            try: cells.append(passes(how, switch, threads, args.weights, args.wait))
            finally:
                for process in busy: process.kill(); process.wait()
        row(how, *map(fmt, cells))


TABLES = {"tasks": tasks, "shares": shares, "ways": ways, "waiting": waiting}


def main(words=None):
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=float, nargs="+", default=[10, 60, 190, 600, 3600])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--songs", default="780-789", help="for quality; none: not measured")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--ways-seconds", type=float, default=190)
    parser.add_argument("--paper-seconds", type=float, default=190)
    parser.add_argument("--wait", type=float, default=5, help="seconds of each measure of waiting")
    parser.add_argument("--eager", action="store_true", help="without ONNX Runtime in the first two tables")
    parser.add_argument("--weights", help="a model folder, instead of the package's weights")
    parser.add_argument("--measure", help="for its own processes")
    args = parser.parse_args(words)
    if args.measure: return print(json.dumps(measure(**json.loads(args.measure))))
    args.how = dict(repeats=args.repeats, weights=args.weights, way="eager" if args.eager else "onnx")
    args.numbers = []
    if "ways" in args.tables and args.songs != "none":
        from msanii.app import song_numbers
        from msanii.pop909 import open_songs
        args.numbers = song_numbers(args.songs, open_songs())
    found, wait = {}, os.environ.get("OMP_WAIT_POLICY", "passive")
    print(about(f"fastest of {args.repeats}", f"threads wait {wait}", threads=max(args.threads)))
    for name in args.tables:
        print(f"\n{TABLES[name].__doc__}\n")
        TABLES[name](args, found)


if __name__ == "__main__": main()
