"The diagrams of sound and of diffusion: notebooks 00 to 04 and 10 to 12."
import math

from diagrams import CARD, INK, SOFT, diagram

RED, BLUE = "#c0504d", "#4a6fa5"


def curve(d, x, y, w, h, f, colour=INK, n=120, width=1.4):
    "The curve of f, from 0 to 1, whose values of -1 to 1 fill a box of h pixels around y."
    d.line(*((x + w * i / n, y - h / 2 * f(i / n)) for i in range(n + 1)), arrow=False,
           colour=colour, width=width)


def spot(d, x, y, r=4, colour=INK):
    d.box(x - r, y - r, 2 * r, 2 * r, kind=colour, round=r)


@diagram(760, 250)
def folding(d):
    "Frequencies above half the sample rate are folded back, as a strip of paper is"
    x, y, step, up = 60, 190, 160, 110
    d.line((x - 10, y), (x + 4 * step + 25, y)).line((x, y + 10), (x, y - up - 30))
    d.text(x + 4 * step + 25, y + 36, "frequency f", 12, "end", SOFT)
    d.text(x + 8, y - up - 30, "frequency that is heard", 12, "start", SOFT)
    d.line((x, y), (x + step, y - up), (x + 2 * step, y), (x + 3 * step, y - up), (x + 4 * step, y),
           arrow=False, colour=BLUE, width=2.2)
    for i, words in enumerate(("0", "fs / 2", "fs", "3 fs / 2", "2 fs")):
        d.line((x + i * step, y - 4), (x + i * step, y + 4), arrow=False)
        d.text(x + i * step, y + 18, words, 12)
    d.line((x - 4, y - up), (x + 3 * step, y - up), arrow=False, dashed=True, colour=SOFT, width=1)
    d.text(x - 10, y - up, "fs / 2", 11, "end", SOFT)
    at, level = x + step * 9000 / 5512.5, y - up * 2025 / 5512.5
    d.line((at, y), (at, level + 4), dashed=True, colour=RED)
    d.line((at, level), (x + 3, level), dashed=True, colour=RED)
    spot(d, at, level, colour=RED)
    d.text(x + 8, level - 10, "2,025 Hz", 11, "start", RED)
    d.text(at - 4, y + 34, "9,000 Hz", 11, "middle", RED)
    d.text(x + step + 14, y - up - 14, "the fold: at fs = 11,025 Hz it is 5,512.5 Hz", 11, "start", SOFT)


@diagram(760, 330)
def mel_steps(d):
    "From a waveform to its mel spectrogram: frames, windows, frequencies, filters"
    wave = lambda u: 0.75 * math.sin(38 * u) * math.sin(3 * u + 0.4) + 0.2 * math.sin(131 * u)
    d.text(20, 18, "1  frames of 2,048 samples, 1,024 apart", 12, "start")
    curve(d, 20, 75, 330, 60, wave)
    for i in range(4):
        d.box(30 + 55 * i, 40, 110, 70, kind="none", dashed=i != 1)
        d.text(30 + 55 * i + 55, 122, f"{i}", 11, fill=SOFT)
    d.text(400, 18, "2  times the window", 12, "start")
    hann = lambda u: math.sin(math.pi * u) ** 2
    curve(d, 400, 75, 130, 60, lambda u: hann(u), SOFT)
    curve(d, 400, 75, 130, 60, lambda u: hann(u) * wave(0.2 + u / 3) * 1.2)
    d.line((358, 75), (392, 75)).line((540, 75), (590, 75))
    d.text(600, 18, "3  how much of each", 12, "start").text(616, 33, "frequency", 12, "start")
    heights = (10, 52, 30, 8, 40, 14, 6, 22, 9, 5, 12, 4, 7, 3, 5, 2)
    for i, h in enumerate(heights): d.box(602 + 8 * i, 105 - h, 6, h, kind="data", round=0)
    d.text(666, 120, "1,025 magnitudes", 11, fill=SOFT)
    d.line((666, 132), (666, 168))
    d.text(560, 180, "4  triangles", 12, "start").text(576, 196, "add them up", 12, "start")
    centres = (0, 10, 21, 34, 50, 71, 98, 134)
    for a, b, c in zip(centres, centres[1:], centres[2:]):
        d.line((590 + a, 262), (590 + b, 215), (590 + c, 262), arrow=False, colour=BLUE)
    d.text(657, 276, "128 mel values, then the logarithm", 11, fill=SOFT)
    d.text(20, 180, "5  a column a frame", 12, "start")
    shades = ["#1d1147", "#51127c", "#832681", "#b73779", "#e75263", "#fc8961", "#fec488"]
    shade = lambda i, j: shades[int(3.2 + 3 * math.sin(0.9 * j + i * i * 0.7) * math.cos(0.5 * i - 0.2 * j))]
    rows = [[shade(i, j) for j in range(20)] for i in range(8)]
    d.grid(170, 205, 330, 80, rows)
    d.box(170 + 16.5, 205, 16.5, 80, kind="none")
    d.line((582, 245), (508, 245))
    d.text(335, 300, "time: from column to column 23 thousandths of a second", 11, fill=SOFT)
    d.text(155, 245, "128 mel bins", 11, "middle", SOFT, turn=-90)


@diagram(760, 250)
def two_sets(d):
    "Griffin-Lim between two sets: a zigzag that shortens; momentum goes on past the point"
    slope, length, start = math.tan(math.radians(15)), 300, 0.97
    for x, words, momentum in ((30, "the two in turn", 0), (400, "with momentum (below)", 0.4)):
        foot = x + length, 132  # where the sets meet; a place on them is how far it is from there, in lengths
        on_c = lambda u: (foot[0] - length * u, foot[1] - slope * length * u)
        on_m = lambda u: (foot[0] - length * u, foot[1] + slope * length * u)
        nearest = (1 - slope**2) / (1 + slope**2)  # of one set, to a place on the other
        d.text(x + 60, 24, words, 13, "start")
        for way, colour, name in ((on_c, BLUE, "C"), (on_m, RED, "M")):
            d.line(way(1), foot, arrow=False, colour=colour, width=2)
            d.text(way(1)[0] - 12, way(1)[1], name, 13, "middle", colour)
        c, before = start, None
        spot(d, *on_c(c))
        for _ in range(4):
            m = nearest * c
            t = nearest * m
            d.line(on_c(c), on_m(m), width=1.2).line(on_m(m), on_c(t), width=1.2)
            c = t if before is None else t + momentum * (t - before)
            if c != t: d.line(on_c(t), on_c(c), width=2.6)
            before = t
        spot(d, *on_c(c), 4, RED)
        spot(d, *foot, 3)
    d.text(20, 234, "C: what is the STFT of some signal", 12, "start", SOFT)
    d.text(260, 234, "M: what has the magnitudes S", 12, "start", SOFT)
    d.text(480, 234, "thick: past the point; red: after four steps", 12, "start", SOFT)


@diagram(760, 260)
def phase_step(d):
    "Where a wave stands in its turn, one hop later: 443 Hz turns 10 times and 0.29 of a turn"
    d.text(20, 20, "a wave of frequency f, and two frames, one hop H apart", 12, "start")
    curve(d, 40, 85, 480, 60, lambda u: math.sin(2 * math.pi * (0.1 + 10.29 * 1.5 * u)), BLUE, 600)
    for at, words in ((120, "frame j"), (440, "frame j + 1")):
        d.line((at, 45), (at, 128), arrow=False, dashed=True).text(at, 140, words, 12)
    d.line((125, 160), (436, 160)).text(280, 174, "H = 1,024 samples: f H / fs = 10.29 turns", 12)
    first = 0.1 + 10.29 * 1.5 * 80 / 480
    for cx, turn, words in ((120, first, "phase in frame j"), (440, first + 10.29, "one hop later")):
        spot(d, cx, 214, 24, CARD)
        angle = 2 * math.pi * turn
        d.line((cx, 214), (cx + 22 * math.cos(angle), 214 - 22 * math.sin(angle)), colour=RED)
        d.text(cx + 34, 214, words, 12, "start")
    d.box(570, 70, 170, 66, "so the pace is known,\nand only the first\nphase is drawn", "rule", 12)
    d.text(570, 200, "whole turns change nothing:", 12, "start", SOFT)
    d.text(570, 217, "the hand moves by 0.29 turns,", 12, "start", SOFT)
    d.text(570, 234, "whatever it began with", 12, "start", SOFT)


@diagram(760, 230)
def gate_and_limiter(d):
    "Two opposite damages at one threshold: the gate takes the quiet bins, the limiter the loud ones"
    heights = (30, 96, 52, 22, 74, 18, 12, 40, 14, 9, 24, 8, 12, 6, 9, 5)
    limit = 36
    for x, words, f in (
        (20, "the target", lambda h: h), (270, "gate: below it, nothing", lambda h: h if h > limit else 0),
        (520, "limiter: nothing above it", lambda h: min(h, limit))):
        d.text(x, 24, words, 13, "start")
        for i, h in enumerate(heights):
            d.box(x + 13 * i, 170 - h, 10, h, kind=CARD, round=0, dashed=True)
            if f(h): d.box(x + 13 * i, 170 - f(h), 10, f(h), kind="data", round=0)
        d.line((x - 4, 170 - limit), (x + 212, 170 - limit), arrow=False, dashed=True, colour=RED)
        d.text(x + 104, 186, "frequency", 11, fill=SOFT)
    d.text(232, 124, "threshold", 11, "end", RED)
    d.text(375, 210, "spectral convergence hardly hears it", 12)
    d.text(625, 210, "log magnitude hardly hears it", 12)


@diagram(760, 270)
def beat_path(d):
    "Dynamic programming: the best series of beats that ends in a frame goes on from an earlier best one"
    x, w, y = 40, 17, 120
    onset = (.1, .9, .2, .1, .3, .1, .8, .2, .1, .7, .2, .9, .1, .1, .2, .1, .7, .2, .1, .2, .1, 1, .2, .1)
    beats = (1, 6, 11, 16, 21)
    for j, o in enumerate(onset):
        d.box(x + w * j, y - 70 * o, w - 4, 70 * o, kind="new" if j in beats else "data", round=0)
    d.text(20, 20, "onset strength o, a bar for each frame; p = 5 frames is the length of a beat", 12,
           "start")
    for a, b in zip(beats, beats[1:]):
        ax, bx = x + w * a + 6, x + w * b + 6
        d.line((ax, y + 6), ((ax + bx) / 2, y + 26), (bx, y + 8))
    d.text(x + 70, y + 44, "a step of 5 costs nothing", 12, fill=SOFT)
    d.line((x + w * 9 + 6, y + 66), (x + w * 9 + 6, y + 8), dashed=True, colour=RED)
    d.text(x + w * 9 + 6, y + 76, "a strong onset, but 3 frames after a beat: the step costs too much", 12,
           fill=RED)
    d.box(480, 60, 250, 56, "best score that ends in frame j\n= o(j) + the best of the earlier\n"
          "scores, less the price of the step", "rule", 12)
    d.box(480, 130, 250, 40, "each frame keeps from where\nit was reached", "rule", 12)
    d.box(480, 184, 250, 40, "from the best frame at the end\nwe walk back along these", "rule", 12)
    d.line((605, 116), (605, 128)).line((605, 170), (605, 182))


@diagram(760, 250)
def two_walks(d):
    "Forward, a rule adds noise; backward, a network says what is clean, and noise is taken away"
    x, y, step, w = 30, 108, 150, 84
    names = ("x at t = -1\ndata", "t = 0", "t", "t + 1", "t = 999\nnoise")
    shade = (0, 0.12, 0.45, 0.7, 1)
    boxes = []
    for i, (name, s) in enumerate(zip(names, shade)):
        at = x + i * step
        boxes.append(d.box(at, y, w, 60, kind=CARD))
        for r in range(6):
            for c in range(8):
                clean = 1 if (r in (1, 4) and c < 6) or (r == 2 and c > 3) else 0
                chance = ((r * 7 + c * 13 + r * c * 5 + i * 3) % 11) / 10
                v = (1 - s) * clean + s * chance
                g = int(245 - 190 * v)
                grey = f"rgb({g},{g},{min(255, g + 12)})"
                d.box(at + 2 + c * 10, y + 2 + r * 9.3, 10, 9.3, kind=grey, round=0)
        d.text(at + w / 2, y - 22, name, 12)
    for i in range(4):
        a, b = x + i * step + w, x + (i + 1) * step
        d.line((a + 4, y + 18), (b - 4, y + 18))
        d.line((b - 4, y + 44), (a + 4, y + 44), colour=RED)
    d.text(x, 22, "forward: shrink a little, add a little noise. A rule, nothing is learned.", 12, "start")
    d.text(x, 44, "backward: guess the clean data, and go one step towards it. The guess is learned.", 12,
           "start", RED)
    d.line((x + w / 2, y + 64), (x + w / 2, y + 90), (x + 2 * step + w / 2, y + 90),
           (x + 2 * step + w / 2, y + 66),
           dashed=True, colour=BLUE)
    d.text(x + step + w / 2, y + 106, "in one step: x = alpha x0 + sigma eps", 12, fill=BLUE)


@diagram(760, 300)
def triangle(d):
    "The data x0, the noise eps, what is seen x, and the velocity v: two pairs of axes, turned by phi"
    ox, oy, r = 190, 240, 185
    at = lambda deg, k=1: (ox + k * r * math.cos(math.radians(deg)), oy - k * r * math.sin(math.radians(deg)))
    d.line((ox, oy), at(0)).line((ox, oy), at(90))
    d.line(*(at(a) for a in range(0, 91, 3)), arrow=False, colour=SOFT, dashed=True)
    d.line((ox, oy), at(35), colour=RED, width=2)
    (px, py), (vx, vy) = at(35), at(125, 0.62)
    d.line((px, py), (px + vx - ox, py + vy - oy), colour=BLUE, width=2)
    d.line((px, py), (px, oy), arrow=False, dashed=True, colour=SOFT)
    d.line((px, py), (ox, py), arrow=False, dashed=True, colour=SOFT)
    d.text(ox + r + 22, oy, "x0", 14).text(ox, oy - r - 14, "eps", 14)
    d.text(px + 20, py + 2, "x", 14, fill=RED).text(px - 75, py - 88, "v", 14, fill=BLUE)
    d.line(*(at(a, 0.25) for a in range(0, 36, 5)), arrow=False)
    d.text(ox + 60, oy - 17, "phi", 12)
    d.text((ox + px) / 2, oy + 14, "alpha = cos phi", 11, fill=SOFT)
    d.text(ox - 12, (oy + py) / 2, "sigma = sin phi", 11, fill=SOFT, turn=-90)
    for i, (words, kind) in enumerate((
        ("x = alpha x0 + sigma eps", "data"), ("v = alpha eps - sigma x0", "network"),
        ("x0 = alpha x - sigma v", "rule"), ("eps = sigma x + alpha v", "rule"))):
        d.box(450, 50 + 50 * i, 230, 34, words, kind, 14)
    d.text(565, 34, "any two of the four give the others", 12, fill=SOFT)
    d.text(565, 264, "t = 0: phi near 0, all data.  t = 999: phi near 90 degrees, all noise.", 11, fill=SOFT)


@diagram(760, 210)
def sampler_step(d):
    "One step of every sampler: ask the denoiser what is clean, go a part of the way, ask again"
    x = d.box(20, 70, 110, 50, "x at t", "noise")
    inner = d.box(195, 76, 100, 38, "network", "network")
    d.box(180, 46, 130, 82, kind="none", dashed=True)
    d.text(245, 60, "Denoiser", 11, fill=SOFT)
    d.box(166, 24, 158, 116, kind="none", dashed=True)
    d.text(245, 35, "Clipped, Guided, ...", 11, fill=SOFT)
    guess = d.box(380, 70, 110, 50, "guess of x0", "data")
    move = d.box(545, 70, 195, 50, "the rule of the sampler:\nfrom t to s < t", "rule")
    d.line((130, 95), (164, 95)).line((326, 95), (378, 95)).join(guess, move)
    d.line((642, 122), (642, 176), (75, 176), (75, 122))
    d.text(360, 190, "x at s; the next step begins there. After the last step s is -1: clean.", 12)
    d.line((75, 70), (75, 12), (642, 12), (642, 68), dashed=True)
    d.text(430, 26, "it also needs x at t", 11, "start", SOFT)


@diagram(760, 250)
def token(d):
    "A token of the U-Net: one frame of one channel; its 128 mel bins are features"
    shades = ["#1d1147", "#51127c", "#832681", "#b73779", "#e75263", "#fc8961"]
    for k, (x, y) in enumerate(((60, 60), (44, 44))):
        shade = lambda i, j: shades[int(2.9 + 2.9 * math.sin(0.8 * j + i * i * 0.9 + k))]
        rows = [[shade(i, j) for j in range(12)] for i in range(10)]
        d.grid(x, y, 180, 130, rows)
    d.box(44 + 60, 44, 15, 130, kind="none")
    d.text(134, 206, "mel, (c, f, t): 2 channels,\n128 bins, t frames", 12)
    d.text(30, 110, "f = 128", 12, turn=-90).text(60, 32, "t", 12)
    frame = d.box(300, 54, 22, 130, "", "data")
    d.text(311, 206, "one frame:\n128 numbers", 12)
    d.line((122, 58), (150, 20), (311, 20), (311, 50), dashed=True)
    layer = d.box(375, 94, 104, 50, "linear layer\n128 to 256", "network")
    out = d.box(532, 40, 22, 158, "", "new")
    d.text(543, 218, "one token:\n256 features", 12)
    d.join(frame, layer).join(layer, out)
    for c in range(2):
        for j in range(7):
            d.box(604 + 19 * j, 88 + 34 * c, 15, 26, kind="new" if (c, j) == (0, 3) else CARD, round=2)
    d.line((558, 100), (600, 100), dashed=True)
    d.text(668, 72, "a strip of tokens", 12).text(668, 166, "2 x t positions,\nnot 2 x 128 x t", 12)


@diagram(760, 222)
def residual_block(d):
    "The residual block: convolve, hear the timestep, think about each position, add to the input"
    h = d.box(20, 60, 84, 50, "h\n256 wide", "data")
    norm = d.box(130, 60, 88, 50, "instance\nnorm", "rule")
    conv = d.box(244, 60, 104, 50, "conv 3 x 3\nneighbours", "network")
    plus = d.box(374, 70, 30, 30, "+", round=15, size=16)
    up = d.box(430, 60, 92, 50, "GELU, W1\n256 to 1,024", "network", 12)
    down = d.box(548, 60, 92, 50, "GELU, W2\n1,024 to 256", "network", 12)
    end = d.box(666, 70, 30, 30, "+", round=15, size=16)
    time = d.box(336, 164, 106, 44, "timestep e\nlinear, 128 to 256", "noise", 11)
    for a, b in ((h, norm), (norm, conv), (conv, plus), (plus, up), (up, down), (down, end)): d.join(a, b)
    d.join(time, plus)
    d.line((62, 58), (62, 24), (681, 24), (681, 68))
    d.text(372, 38, "skip: the input itself, or a 1 x 1 convolution where the widths differ", 12, fill=SOFT)
    d.line((696, 85), (742, 85))
    d.text(296, 126, "mixes positions", 11, fill=SOFT)
    d.text(535, 126, "every position by itself", 11, fill=SOFT)


@diagram(760, 290)
def two_brackets(d):
    "Attention bracketed two ways: a table of all pairs of frames, or one small summary"
    d.text(20, 22, "V (K'Q): first all pairs of frames", 13, "start")
    v = d.box(20, 60, 110, 26, "V   d x t", "data")
    q = d.box(160, 40, 120, 120, "K'Q\nt x t", "new")
    d.text(145, 76, "x", 13)
    d.text(220, 176, "8,192 x 8,192 numbers\na head and channel", 12)
    d.text(20, 120, "cost: d t t", 13, "start", RED)
    d.line((370, 20), (370, 200), arrow=False, dashed=True, colour=SOFT)
    d.text(400, 22, "(V K') Q: first a summary of the song", 13, "start")
    d.box(400, 60, 34, 34, "VK'", "rule", 11)
    d.text(417, 108, "d x d", 11, fill=SOFT).text(450, 76, "x", 13)
    d.box(470, 62, 150, 30, "Q   d x t", "data")
    d.text(417, 128, "32 x 32 numbers", 12, "start").text(400, 156, "cost: d d t", 13, "start", BLUE)
    d.box(20, 220, 720, 50, "", "plain")
    d.text(380, 245, "the same output, (d x t): brackets do not change a product of matrices.\n"
                     "The table has t / d times as much work: 8,192 / 32 = 256", 12)


@diagram(760, 470)
def unet(d):
    "The U-Net with its shapes: features x channels x frames, for 190 seconds of stereo"
    frames, x, y = [8192 >> i for i in range(7)], 150, 84
    left, right = [], []
    for level, t in enumerate(frames):
        kind = "new" if level > 4 else "network"
        at = y + 46 * level
        left.append(d.box(x + 14 * level, at, 120, 30, f"256 x 2 x {t:,}", kind, 12))
        right.append(d.box(x + 430 - 14 * level, at, 120, 30, f"256 x 2 x {t:,}", kind, 12))
        d.line((x + 14 * level + 122, at + 15), (x + 430 - 14 * level - 3, at + 15), dashed=True, colour=SOFT)
    for i in range(6):
        for side, up in ((left, False), (right, True)):
            a, b = side[i], side[i + 1]
            px, qx = a[0] + 60, b[0] + 60
            ends = ((px, a[1] + 31), (qx, b[1] - 2))
            d.line(*(ends[::-1] if up else ends))
    middle = d.box(x + 215, y + 46 * 7 + 6, 120, 36, "middle", "new")
    low, high, at = left[6][0] + 60, right[6][0] + 60, middle[1] + 18
    d.line((low, left[6][1] + 31), (low, at), (middle[0] - 2, at))
    d.line((middle[0] + 120, at), (high, at), (high, right[6][1] + 33))
    d.box(x, 14, 120, 36, "x at t\n2 x 128 x 8,192", "data", 12)
    d.box(x + 430, 14, 120, 36, "noise\n2 x 128 x 8,192", "data", 12)
    d.line((x + 60, 50), (x + 60, y - 2)).line((x + 490, y), (x + 490, 52))
    d.text(x + 66, 66, "tokens: linear, 128 to 256", 11, "start", SOFT)
    d.text(x + 484, 66, "linear, 256 to 128", 11, "end", SOFT)
    d.text(x + 275, y + 5, "skips: laid by, and joined on the way up", 11, fill=SOFT)
    d.text(18, 330, "down: a convolution\nof stride 2", 11, "start", SOFT)
    d.text(742, 330, "up: a transposed\nconvolution", 11, "end", SOFT)
    d.box(18, 398, 104, 36, "timestep t\nto every block", "noise", 11)
    d.text(612, 404, "orange: 2 residual blocks", 11, "start", SOFT)
    d.text(612, 420, "rose: with attention", 11, "start", SOFT)
    d.text(150, 456, "7 levels; each halves the frames. The stereo axis is never halved.", 12, "start")
