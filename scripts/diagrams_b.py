"""Diagrams of the notebooks 13 to 15 and 20 to 25."""
import math

from diagrams import SOFT, diagram


@diagram(760, 230)
def bits(d):
    "Four cells as ones and zeros, as numbers, noised, and back to probabilities and a mean"
    alpha, sigma, prior = 0.6, 0.8, math.log(0.25 / 0.75)
    ones, eps, others = (0, 1, 0, 0), (0.5, -0.5, -0.25, 1.0), (-2, 3, -1, -2)
    clean = [2 * b - 1 for b in ones]
    noised = [alpha * x + sigma * e for x, e in zip(clean, eps)]
    own = [2 * alpha * x / sigma**2 for x in noised]
    p = [1 / (1 + math.exp(-(a + o + prior))) for a, o in zip(own, others)]
    columns = (
        ("bits", "data", ones, "d"), ("x_0 = 2b - 1", "data", clean, "+d"),
        ("x_t, noised", "noise", noised, "+.2f"),
        ("evidence", "rule", own, "+.1f"), ("the network:\nother cells", "network", others, "+d"),
        ("probability", "new", p, ".2f"), ("mean, 2p - 1", "new", [2 * q - 1 for q in p], "+.2f"),
    )
    for i, (name, kind, values, form) in enumerate(columns):
        x = 20 + 105 * i
        d.text(x + 40, 32, name, 12)
        for j, value in enumerate(values):
            d.box(x, 58 + 34 * j, 80, 30, format(value, form), kind, 12, round=3)
        if i: d.text(x - 12, 125, "+" if i == 4 else "→", 15, fill=SOFT)
    d.text(20, 212, "Here α = 0.6, σ = 0.8, and a quarter of all cells are ones: the prior's log odds, -1.1, "
           "are added to both.", 11, "start", SOFT)


@diagram(760, 190)
def bit_unet(d):
    "The evidence of each cell goes round the U-Net, and is added to what it says"
    x = d.box(20, 80, 80, 44, "x_t", "noise")
    own = d.box(140, 80, 110, 44, "prior +\nevidence", "rule")
    guess = d.box(290, 80, 110, 44, "probability", "rule")
    net = d.box(440, 80, 90, 44, "U-Net", "network")
    total = d.box(570, 87, 30, 30, "+", round=15)
    mean = d.box(640, 80, 100, 44, "tanh(· / 2)\nis the mean", "data")
    d.join(x, own).join(own, guess).join(guess, net).join(net, total).join(total, mean)
    d.line((195, 80), (195, 40), (585, 40), (585, 85))
    d.text(390, 28, "what a cell says by itself: nothing to learn", 12, fill=SOFT)
    d.text(485, 142, "learns only what the\nother cells say", 12, fill=SOFT)
    d.text(345, 142, "what it sees:\na first guess", 12, fill=SOFT)


@diagram(760, 210)
def transcriber(d):
    "From sound to notes: the transcriber paints four pictures, and a rule reads notes from them"
    sound = d.box(20, 80, 90, 44, "mel\n128 rows", "data")
    net = d.box(150, 80, 120, 44, "Transcriber\n7 FrameBlocks", "network")
    rule = d.box(480, 80, 110, 44, "find_notes", "rule")
    table = d.box(630, 80, 110, 44, "notes, a row\nfor each", "data")
    d.join(sound, net).join(rule, table)
    names = "struck, 88 rows", "sounding, 88 rows", "loudness, 88 rows", "drums, 8 rows"
    for i, name in enumerate(names):
        picture = d.box(310, 20 + 44 * i, 130, 34, name, "new", 12)
        d.line((270, 102), (308, 37 + 44 * i)).line((440, 37 + 44 * i), (478, 102))
    d.text(562, 146, "a peak in struck begins a note,\nthe end of sounding ends it", 11, fill=SOFT)


@diagram(760, 250)
def note_from_pictures(d):
    "How a note is read from one key's rows of the pictures struck and sounding"
    struck = (0, .02, .3, .9, .6, .05, 0, 0, 0, 0, 0, 0, .1, .2, .1, 0)
    sounding = (0, .05, .4, .8, .95, .97, .96, .95, .93, .9, .8, .7, .6, .4, .2, .1)
    left, cell = 120, 38
    for base, values, threshold, name in ((100, struck, .3, "struck"), (200, sounding, .55, "sounding")):
        d.text(110, base - 30, name, 13, "end")
        for j, p in enumerate(values):
            kind = "new" if p > threshold else "noise"
            if p: d.box(left + cell * j + 4, base - 75 * p, cell - 8, 75 * p, "", kind, round=1)
        d.line((left, base), (left + 16 * cell, base), arrow=False)
        y = base - 75 * threshold
        d.line((left, y), (left + 16 * cell, y), arrow=False, dashed=True, colour=SOFT)
        d.text(left + 16 * cell - 4, y - 9, f"threshold {threshold}", 11, "end", SOFT)
    on, off = left + cell * 3.667, left + cell * 13.5
    for x, top in ((on, 20), (off, 110)): d.line((x, top), (x, 222), arrow=False, dashed=True)
    d.box(on, 222, off - on, 20, "the note", "data", 12)
    d.text(on + 8, 14, "the mean of the three frames around the peak", 11, "start", SOFT)


@diagram(760, 330)
def three_vocoders(d):
    "Three vocoders side by side: the paper's, a correction of a guess, and the one that ships"
    for i, (title, blocks, prior) in enumerate((
            ("Vocoder()", "residual block\nnorm over the window", False),
            ("Vocoder(prior=True)", "residual block\nnorm over the window", True),
            ("PriorVocoder()", "5 FrameBlocks\nnorm in each frame", True))):
        x = 20 + 250 * i
        d.text(x + 110, 22, title, 14, weight="bold")
        mel = d.box(x, 44, 110, 36, "mel", "data", 12)
        words = "128 → 256" if i < 2 else "less its mean,\n128 → 256"
        first = d.box(x, 104, 110, 32, words, "network", 12 if i < 2 else 10)
        middle = d.box(x, 160, 110, 44, blocks, "network", 10)
        last = d.box(x, 228, 110, 40, "256 → 1,025\nexp", "network", 12)
        d.join(mel, first).join(first, middle).join(middle, last)
        if prior:
            guess = d.box(x + 128, 104, 96, 44, "guess: pseudo-\ninverse", "rule", 11)
            d.line((x + 110, 62), (x + 176, 62), (x + 176, 102))
            times = d.box(x + 162, 234, 28, 28, "×", round=14)
            d.join(guess, times).join(last, times)
            d.line((x + 176, 262), (x + 176, 288))
        else: d.line((x + 55, 268), (x + 55, 288))
        d.box(x if not prior else x + 121, 290, 110, 30, "magnitude", "data", 12)


@diagram(760, 170)
def frame_block(d):
    "FrameBlock: frames are mixed feature by feature, then features frame by frame, and the skip is added"
    names = (("h\n(b, t, d)", "data"), ("depthwise conv\nover 7 frames", "network"),
             ("norm of\neach frame", "rule"), ("d → 3 d", "network"), ("GELU", "rule"), ("3 d → d", "network"))
    boxes = [d.box(20 + 112 * i, 70, 96, 44, name, kind, 11) for i, (name, kind) in enumerate(names)]
    plus = d.box(694, 77, 30, 30, "+", round=15)
    for a, b in zip(boxes, [*boxes[1:], plus]): d.join(a, b)
    d.line((68, 70), (68, 34), (709, 34), (709, 75)).line((724, 92), (752, 92))
    d.text(390, 22, "what came in, unchanged", 11, fill=SOFT)
    d.text(180, 138, "mixes frames", 11, fill=SOFT).text(516, 138, "mix features", 11, fill=SOFT)


@diagram(760, 210)
def score_to_sound(d):
    "One score, two ways: FluidSynth makes sound of it, and the roll a picture on the same frames"
    file = d.box(20, 84, 90, 44, "MIDI file", "data")
    score = d.box(170, 84, 90, 44, "score", "data")
    synth = d.box(330, 30, 110, 44, "FluidSynth", "rule")
    font = d.box(330, 96, 110, 30, "SoundFont", "known", 12)
    sound = d.box(500, 30, 90, 44, "sound", "data")
    mel = d.box(650, 30, 90, 44, "mel", "data")
    table = d.box(330, 146, 110, 44, "table of notes", "data")
    roll = d.box(650, 146, 90, 44, "roll", "data")
    d.join(file, score, "load_score").join(font, synth).join(synth, sound).join(sound, mel)
    d.line((215, 84), (215, 52), (328, 52)).line((215, 128), (215, 168), (328, 168))
    d.text(270, 40, "render_score", 11, fill=SOFT).text(272, 180, "notes", 11, fill=SOFT)
    d.line((440, 168), (648, 168)).text(545, 158, "piano_roll", 11, fill=SOFT)
    d.line((695, 76), (695, 144), arrow=False, dashed=True, colour=SOFT)
    d.text(688, 110, "the same\nframes", 11, "end", SOFT)


@diagram(760, 250)
def pedal_roll(d):
    "A note under the pedal: the key, the pedal, what is heard, and the two halves of the roll"
    left, cell = 130, 38
    def span(a, b, y, words, kind): d.box(left + cell * a, y, cell * (b - a), 24, words, kind, 12, round=3)
    for i, name in enumerate(("key", "pedal", "heard", "roll: struck", "roll: sounding")):
        d.text(left - 30, 42 + 40 * i, name, 12, "end")
    span(2.9, 5.6, 30, "down", "rule")
    span(1.4, 12.2, 70, "down", "rule")
    span(2.9, 12.2, 110, "from the stroke until the pedal comes up", "data")
    d.grid(left - cell / 2, 150, 16 * cell, 24, [["new" if j == 3 else "plain" for j in range(16)]])
    d.grid(left - cell / 2, 190, 16 * cell, 24, [["new" if 3 <= j < 12 else "plain" for j in range(16)]])
    for x in (2.9, 12.2):
        d.line((left + cell * x, 20), (left + cell * x, 218), arrow=False, dashed=True, colour=SOFT)
    d.text(left, 234, "a cell is a frame, 1,024 samples wide about its centre", 11, "start", SOFT)
