"The diagrams of making: notebooks 40 to 47 and 49."
from diagrams import FILLS, INK, SOFT, diagram

RED = "#b5473c"


def name(d, x, y, words, size=12):
    "Words that begin at x."
    d.text(x, y, words, size, "start")


def note(d, x, y, words, anchor="start"):
    "Small grey words."
    d.text(x, y, words, 11, anchor, SOFT)


def bar(d, x, y, w, kind, words="", h=22, dashed=False):
    "A stretch of a timeline."
    return d.box(x, y, w, h, words, kind, 11, dashed, 2)


@diagram(760, 372)
def task_walks(d):
    "Six tasks, one walk: what comes in, where noise enters, what is kept, what comes out"
    columns = (14, 150, 300, 510, 660)
    heads = "task", "comes in", "the walk begins at", "kept at each step", "comes out"
    for x, words in zip(columns, heads): note(d, x - 36 * (x == 510), 18, words)
    rows = (
        ("sampling, 42", ("nothing", "plain"), "noise", "nothing", "new"),
        ("style transfer, 43", ("song", "data"), "song + noise", "nothing", "data"),
        ("interpolation, 44", ("two songs", "data"), "mixture + noise", "nothing", "data"),
        ("inpainting, 46", ("song, holes", "data"), "noise", "all but the holes", "hole"),
        ("outpainting, 47", ("song", "data"), "noise", "the song", "end"),
        ("rendering, 48", ("score", "rule"), "noise", "nothing; it is shown the score", "new"),
    )
    for i, (task, (given, kind), start, kept, out) in enumerate(rows):
        y = 36 + 48 * i
        name(d, columns[0], y + 18, task)
        a = d.box(columns[1], y, 104, 36, given, kind, 12)
        b = d.box(columns[2], y, 148, 36, start, "noise", 12)
        d.join(a, b)
        note(d, columns[3] - 36, y + 18, kept)
        c = d.box(columns[4] + 10, y, 76, 36, "", "new" if out == "new" else "data", 12)
        if out == "hole": d.box(columns[4] + 36, y, 22, 36, "", "new", 12, round=0)
        if out == "end": d.box(columns[4] + 52, y, 34, 36, "", "new", 12)
        if out == "data": d.box(columns[4] + 10, y, 76, 36, "", "#efe3ee", 12)
        d.line((c[0] - 22, y + 18), (c[0] - 3, y + 18))
    note(d, 14, 342, "blue: given sound    grey: noise enters    pink: made anew    violet: between the two")
    note(d, 14, 358, "A strength says how much noise is added to a song: none at 0, nothing but noise at 1.")


@diagram(760, 330)
def windows_step(d):
    "One step with windows: cut, guess, weigh, add"
    x, w, size, move = 130, 600, 240, 180
    name(d, 14, 34, "all look at\none x_t")
    bar(d, x, 20, w, "noise", "x_t", 28)
    starts = [0, move, w - size]
    for i, s in enumerate(starts):
        y = 76 + 32 * i
        d.line((x + s + size / 2, 48), (x + s + size / 2, y - 2), dashed=True, colour=SOFT)
        bar(d, x + s, y, size, "network", f"window {i}: network's guess")
    name(d, 14, 118, "each guesses\nits own part")
    name(d, 14, 214, "weights, which\nadd up to 1")
    y, tall, ramp = 236, 44, size - move
    for i, s in enumerate(starts):
        left = 0 if i == 0 else ramp
        right = 0 if i == len(starts) - 1 else ramp
        points = [(x + s, y if left else y - tall), (x + s + left, y - tall),
                  (x + s + size - right, y - tall), (x + s + size, y if right else y - tall)]
        d.line(*points, arrow=False, colour=("#4a6fa5", RED, "#5a8f57")[i], width=2)
    d.line((x, y), (x + w, y), arrow=False, colour=SOFT)
    name(d, 14, 276, "one guess\nof x_0")
    bar(d, x, 262, w, "data", "x̂_0, the weighted sum", 28)
    for s in starts[1:]: d.box(x + s, 258, ramp, 36, "", "none", dashed=True)
    note(d, x, 312, "dashed: frames that two windows hear; what they guess there is blended at each step")


@diagram(760, 215)
def ring(d):
    "A loop, unrolled: what the network hears, and the weights of its guess"
    x, w, margin, y = 140, 460, 70, 20
    name(d, 14, y + 13, "it hears")
    bar(d, x, y, margin, "known", "end", 26)
    bar(d, x + margin, y, w, "data", "the loop, frames 0 to t - 1", 26)
    bar(d, x + margin + w, y, margin, "known", "start", 26)
    name(d, 14, y + 86, "weights of\nits guess")
    low, high = y + 112, y + 62
    d.line((x, low), (x + margin / 2, low), (x + margin * 1.5, high), (x + w + margin / 2, high),
           (x + w + 1.5 * margin, low), (x + w + 2 * margin, low), arrow=False, colour=RED, width=2)
    for at in (x + margin, x + margin + w):
        d.line((at, y + 30), (at, low + 6), arrow=False, dashed=True, colour=SOFT)
    for at in (x + margin, x + margin + w): note(d, at, low + 16, "joint", "middle")
    note(d, x, low + 36, "0 at the very edge, where the network")
    note(d, x, low + 51, "has nothing on one side")
    note(d, x + w + 2 * margin, low + 36, "near the joint the weights of both ends", "end")
    note(d, x + w + 2 * margin, low + 51, "add up to 1: the two guesses are blended", "end")


@diagram(760, 215)
def denoiser_layers(d):
    "A denoiser, from the inside out: network, windows, guidance, clamp"
    d.box(150, 16, 470, 180, "", "plain")
    d.text(385, 34, "Clipped: values within [-1, 1]", 12)
    d.box(175, 48, 420, 136, "", "rule")
    d.text(385, 64, "Guided: with the condition and without it", 12)
    d.box(205, 78, 360, 96, "", "known")
    d.text(385, 94, "Windowed: cut, guess, weigh, add (a Ring around it for a loop)", 12)
    d.box(265, 108, 240, 54, "U-Net, its schedule, its condition\n(half precision on a GPU)", "network", 12)
    d.line((50, 106), (148, 106)).line((620, 106), (706, 106))
    d.text(94, 92, "x_t, t", 12)
    d.text(662, 92, "guess of x_0", 12)
    note(d, 94, 124, "of any length", "middle")


@diagram(760, 262)
def held_phases(d):
    "Griffin-Lim held to known samples: what is known, what is asked, how phases begin"
    x, w, a, b, wide = 120, 620, 180, 440, 60
    name(d, 14, 40, "samples")
    bar(d, x, 24, a, "known", "known", 30)
    bar(d, x + a, 24, b - a, "new", "hole", 30)
    bar(d, x + b, 24, w - b, "known", "known", 30)
    name(d, 14, 98, "κ: how much\na frame knows")
    high, low = 78, 122
    d.line((x, high), (x + a - wide / 2, high), (x + a + wide / 2, low), (x + b - wide / 2, low),
           (x + b + wide / 2, high), (x + w, high), arrow=False, colour=RED, width=2)
    note(d, x + w + 4, high, "1")
    note(d, x + w + 4, low, "0")
    d.text(x + 66, 108, "keeps its own |X|", 11)
    d.text(x + (a + b) / 2, 108, "is asked for S", 11)
    name(d, 14, 172, "first phases")
    middle = x + (a + b) / 2
    d.line((x + a, 150), (x + a, 196), arrow=False, dashed=True, colour=SOFT)
    d.line((x + b, 150), (x + b, 196), arrow=False, dashed=True, colour=SOFT)
    d.line((x + a - 30, 172), (middle - 6, 172)).line((x + b + 30, 172), (middle + 6, 172))
    d.text(x + a + 62, 158, "run on, like clocks", 11)
    d.text(x + b - 62, 158, "run back", 11)
    name(d, 14, 228, "result")
    bar(d, x, 214, a - 26, "known", "untouched", 26)
    bar(d, x + a - 26, 214, 26, "#eadfe9", "", 26)
    bar(d, x + a, 214, b - a, "new", "new sound, in phase at both seams", 26)
    bar(d, x + b, 214, 26, "#eadfe9", "", 26)
    bar(d, x + b + 26, 214, w - b - 26, "known", "untouched", 26)
    note(d, x + a - 13, 252, "crossfade", "middle")
    note(d, x + b + 13, 252, "crossfade", "middle")


@diagram(760, 205)
def sampling_way(d):
    "From noise to sound: what has which shape"
    y, h = 50, 56
    noise = d.box(20, y, 110, h, "noise\n(1, 2, 128, t)", "noise", 12)
    unet = d.box(200, y, 110, h, "U-Net\n(12)", "network", 12)
    mel = d.box(390, y, 110, h, "mel x_0\n(1, 2, 128, t)", "data", 12)
    vocoder = d.box(390, y + 86, 110, h, "vocoder (13)\nmel to magnitudes", "network", 12)
    phase = d.box(550, y + 86, 90, h, "Griffin-Lim\n(02)", "rule", 12)
    sound = d.box(670, y + 86, 76, h, "sound\n(2, n)", "data", 12)
    d.join(noise, unet).join(unet, mel).join(mel, vocoder).join(vocoder, phase).join(phase, sound)
    d.line((280, y), (280, y - 20), (230, y - 20), (230, y - 2))
    note(d, 255, y - 30, "once a step: guess x_0, step from t to s", "middle")
    note(d, 20, y + 96, "2 channels, 128 mel bins, t frames of 1,024 samples")
    note(d, 20, y + 112, "n samples at 44.1 kHz, as many as were asked for")


@diagram(760, 275)
def strengths(d):
    "Style transfer: up in one step, down in many; the strength says how far"
    x0, x1, top, base = 90, 730, 40, 200
    d.line((60, base + 8), (60, top - 14)).text(38, (top + base) / 2, "noise", 12, turn=-90)
    d.line((52, base), (66, base), arrow=False).line((52, top), (66, top), arrow=False)
    note(d, 70, top - 8, "t = 999: noise alone")
    for i, (strength, width) in enumerate(((0.1, 120), (0.5, 200), (0.9, 240))):
        left = x0 + (20, 190, 420)[i]
        peak = base - strength * (base - top)
        d.line((left, base - 2), (left, peak), colour=RED, width=2)
        steps, points = 8, [(left, peak)]
        for k in range(1, steps + 1):
            down = peak + (base - peak) * k / steps
            right = left + width * k / steps * 0.8
            points += [(right, points[-1][1]), (right, down)]
        d.line(*points, arrow=False, colour="#4a6fa5", width=1.8)
        d.text(left + 6, peak - 12, f"strength {strength:g}", 12, "start")
        d.box(left - 26, base + 8, 46, 26, "song", "data", 11)
        d.box(left + width * 0.8 - 26, base + 8, 54, 26, "version", "new", 11)
    d.line((66, base), (x1, base), arrow=False, colour=SOFT)
    note(d, 90, base + 45, "red: one jump up, noise of a known amount")
    note(d, 400, base + 45, "blue: as many steps down as `steps` says")


@diagram(760, 250)
def between_two(d):
    "Interpolation: two songs, one mixture, one walk down"
    a = d.box(20, 30, 90, 40, "song a", "data")
    b = d.box(20, 150, 90, 40, "song b", "data")
    a2 = d.box(150, 30, 110, 40, "to a familiar\nlevel, its mel", "rule", 11)
    b2 = d.box(150, 150, 110, 40, "to a familiar\nlevel, its mel", "rule", 11)
    mix = d.box(320, 90, 110, 40, "(1 - r) a + r b", "data", 12)
    up = d.box(480, 90, 80, 40, "noise up\nto t", "noise", 11)
    down = d.box(600, 90, 60, 40, "walk\ndown", "network", 11)
    out = d.box(690, 90, 60, 40, "one\npiece", "new", 11)
    d.join(a, a2).join(b, b2)
    d.line((260, 50), (290, 50), (290, 102), (318, 102)).line((260, 170), (290, 170), (290, 118), (318, 118))
    d.join(mix, up).join(up, down).join(down, out)
    one = d.box(440, 20, 150, 36, "linear: one noise ε", "noise", 12)
    two = d.box(415, 168, 210, 36, "spherical: cos θ ε_a + sin θ ε_b", "noise", 12)
    d.line((520, 56), (520, 88)).line((520, 168), (520, 132), dashed=True)
    note(d, 640, 38, "either way the noise")
    note(d, 640, 53, "has the variance 1")
    note(d, 20, 228, "The result's length and level lie between those of a and b, as the ratio r says.")


@diagram(760, 300)
def seam(d):
    "A seam: two levels are made equal where they meet, and the correction fades"
    x, w, a = 110, 620, 250
    name(d, 14, 34, "samples")
    bar(d, x, 20, a - 30, "known", "the song, untouched", 28)
    bar(d, x + a - 30, 20, 30, "#eadfe9", "", 28)
    bar(d, x + a, 20, w - a, "new", "the hole", 28)
    d.line((x + a, 14), (x + a, 258), arrow=False, dashed=True, colour=SOFT)
    note(d, x + a - 15, 60, "crossfade, 50 ms", "end")
    name(d, 14, 130, "level (dB)")
    before, raw = 120, 186
    d.line((x, before), (x + a, before), arrow=False, width=2)
    d.line((x + a, raw), (x + w, raw), arrow=False, dashed=True, colour=RED, width=2)
    d.line((x + a, before), (x + a + 300, raw), (x + w, raw), arrow=False, colour=RED, width=2)
    d.line((x + a + 5, raw - 3), (x + a + 5, before + 5))
    for s, words in ((x + a - 90, "0.4 s outside"), (x + a, "0.4 s inside")):
        d.box(s, 206, 90, 20, words, "plain", 11)
    note(d, x + a + 172, 132, "corrected: by all of the step at the seam,")
    note(d, x + a + 240, 148, "by nothing after 4 s")
    note(d, x + a + 186, raw + 16, "dashed: as the model made it")
    d.line((x + a, 104), (x + a + 300, 82), arrow=False, dashed=True, colour=INK)
    note(d, x + a + 30, 70, "the limit: no peak stands out")
    name(d, 14, 244, "wave")
    d.text(x + a / 2, 244, "known", 12)
    d.text(x + a + 150, 244, "goes on in phase (41), not only in level", 12)
    note(d, x, 282, "Level and phase are two things: a hole of the right level may still click, "
         "and one in phase may still jump.")


@diagram(760, 330)
def repaint_jumps(d):
    "RePaint: down with the known part put back, up again by adding noise"
    left, top, base, dx = 80, 40, 190, 17
    d.line((60, base + 10), (60, top - 16)).text(36, (top + base) / 2, "noise level", 12, turn=-90)
    levels = [7, 6, 5, 4, 3, 6, 5, 4, 3, 6, 5, 4, 3, 2, 1, 0, 3, 2, 1, 0, 3, 2, 1, 0]
    at = lambda i: (left + dx * i, base - (base - top) * levels[i] / 7)
    for i in range(len(levels) - 1):
        climbs = levels[i + 1] > levels[i]
        d.line(at(i), at(i + 1), arrow=climbs, colour=RED if climbs else "#4a6fa5", width=2)
    note(d, left, base + 20, "blue: a pass of the network, one level down")
    note(d, left, base + 36, "red: noise is added, no pass: known and new are mixed")
    x, y = 540, 34
    d.text(x + 100, y - 12, "a step down", 12)
    known = d.box(x, y, 90, 40, "song, noised\nto level s", "known", 11)
    new = d.box(x + 110, y, 90, 40, "network's\nstep to s", "network", 11)
    mask = d.box(x + 20, y + 76, 160, 30, "kept frames | hole", "plain", 11)
    d.line((known[0] + 45, y + 40), (known[0] + 70, y + 74))
    d.line((new[0] + 45, y + 40), (new[0] + 20, y + 74))
    xs = d.box(x + 55, y + 138, 90, 30, "x_s", "noise", 12)
    d.join(mask, xs)
    d.line((20, 250), (740, 250), arrow=False, dashed=True, colour=SOFT)
    name(d, 20, 276, "A network that hears the context needs no jumps:")
    a = d.box(300, 262, 90, 30, "x_t, context", "noise", 11)
    b = d.box(430, 262, 90, 30, "network", "network", 11)
    c = d.box(560, 262, 170, 30, "its guess in the hole, x_0 outside", "known", 10)
    d.join(a, b).join(b, c)
    note(d, 20, 312, "Both end with the kept frames as they were. The first works with any network; "
         "the second asks for one that learned with holes.")


@diagram(760, 285)
def sliding(d):
    "Windows that slide: context, new frames, and the border that the next window makes again"
    x, size, c, edge = 120, 260, 110, 20
    name(d, 14, 36, "the music")
    bar(d, x, 24, 170, "known", "song", 26)
    bar(d, x + 170, 24, 450, "new", "what is to be made", 26)
    start = x + 60
    for i in range(3):
        y = 72 + 44 * i
        name(d, 14, y + 12, f"window {i + 1}")
        bar(d, start, y, c, "known", "context", 26)
        bar(d, start + c, y, size - c - edge, "new", "filled", 26)
        bar(d, start + size - edge, y, edge, "noise", "", 26)
        if i < 2:
            d.line((start + size - edge, y + 26), (start + size - edge, y + 72), arrow=False, dashed=True,
                   colour=RED)
        start += size - c - edge
    note(d, 120, 212, "grey: the last sixteenth hears nothing on its right; the next window makes it again")
    note(d, 120, 230, "red: where two windows meet, `meet` brings both to one level")
    note(d, 120, 248, "each new part is compared with the song, not with the window before:")
    note(d, 120, 263, "its energy within 3 dB, each mel bin's mean within 6 dB")


@diagram(760, 262)
def stream_line(d):
    "A stream on a timeline: what is made, what is given, what is held back"
    x, size, c, edge = 130, 260, 110, 26
    start, done = x, x
    for i in range(3):
        y = 24 + 62 * i
        name(d, 14, y + 13, f"window {i + 1}")
        if i: bar(d, start, y, c, "known", "heard again", 26)
        made = start + (c if i else 0)
        bar(d, made, y, start + size - edge - made, "new", "made", 26)
        bar(d, start + size - edge, y, edge, "noise", "", 26)
        given = start + size - edge - 8
        d.line((done + 1, y + 38), (given, y + 38), colour="#5a8f57", width=1.6)
        note(d, (done + given) / 2, y + 50, f"chunk {i + 1} is handed out", "middle")
        done = given
        start += size - c - edge
    d.line((x, 222), (740, 222))
    note(d, 740, 236, "time of the music", "end")
    note(d, x, 236, "grey: the border; it and the 50 ms before it wait for the next window")
    note(d, x, 252, "what lies before `heard again` is forgotten: memory does not grow")


@diagram(760, 250)
def task_row(d):
    "A row of the table, and who reads it"
    x, y = 250, 20
    d.box(x, y, 260, 206, "", "data")
    d.text(x + 130, y + 18, 'TASKS["style-transfer"]', 13, weight="bold")
    for i, (field, value) in enumerate((("about", "one line of help"), ("function", "Msanii.style_transfer"),
                                        ("inputs", "files: audio"), ("parameters", "strength, seed, steps"),
                                        ("said", "{} at strength ..."), ("examples", "lines for a shell"))):
        d.text(x + 92, y + 46 + 28 * i, field, 12, "end", SOFT)
        d.text(x + 104, y + 46 + 28 * i, value, 12, "start")
    page = d.box(590, 30, 150, 44, "the page (73)\na button, sliders", "plain", 12)
    shell = d.box(590, 102, 150, 44, "the command line (74)\n--strength, --help", "plain", 12)
    python = d.box(590, 174, 150, 44, "perform(m, name, ...)\nin Python", "plain", 12)
    for box in (page, shell, python): d.line((510, box[1] + 22), (588, box[1] + 22))
    range_ = d.box(20, 60, 160, 60, "Parameter (40)\nname, range, default,\nhelp, check", "rule", 12)
    method = d.box(20, 150, 160, 44, "the method (43)\nover a Walk (40)", "network", 12)
    d.line((180, 90), (248, 150)).line((180, 172), (248, 102))
