"""Diagrams of notebooks 26 to 34: plans, templates, bands, corrections, training, models, adapters, wear."""
import math

from diagrams import SOFT, diagram

ON, OFF = "#4a6fb0", "#fdfcf8"


@diagram(760, 305)
def floors(d):
    "Three floors: a plan has a token a bar, a sheet a token a sixteenth, a score has notes in seconds"
    d.text(20, 20, "decided first", 11, "start", SOFT).text(20, 292, "decided last", 11, "start", SOFT)
    rows = (("plan", "a token a bar", "planner"), ("sheet", "a token a sixteenth", "composer"),
            ("score", "notes in seconds", "performance"))
    for i, (name, token, _) in enumerate(rows):
        d.text(20, 62 + 95 * i, name, 15, "start", weight="bold")
        d.text(20, 82 + 95 * i, token, 11, "start", SOFT)
    for bar in range(4):
        x = 160 + 145 * bar
        d.box(x, 40, 139, 46, ("C    G\ngroove, density", "Am    F\ngroove, density")[bar % 2], "rule", 12)
        colours = [[ON if (s * 7 + r * 3 + 5 * (bar % 2)) % 11 < 3 - r // 2 else OFF for s in range(16)]
                   for r in range(3)]
        d.grid(x, 135, 139, 46, colours)
        for k in range(5):
            at, high = x + 4 + 27 * k + 3 * math.sin(5 * k + bar), (k * (3 + bar % 2)) % 5
            d.box(at, 264 - 9 * high, 20 - 3 * (k % 2), 7, kind="data", round=2)
    for x in (230, 665): d.line((x, 88), (x, 131)).line((x, 183), (x, 222))
    d.text(447, 110, "the composer finds the notes for this plan", 12, fill=SOFT)
    d.text(447, 204, "each sixteenth falls at a time in seconds", 12, fill=SOFT)


@diagram(760, 290)
def template_sum(d):
    "A first guess: the template of each note is read at its age, made as loud as the note, and added up"
    note = d.box(20, 60, 150, 80, "a note\nplayer 0, key 60\nvelocity 80\n1.0 to 1.5 s", "data", 12)
    other = d.box(20, 180, 150, 56, "the next note\nplayer 33, key 36", "data", 12)
    book = d.box(220, 60, 140, 80, "template of\nthis player and key\n128 bins over age", "rule", 12)
    loud = d.box(405, 60, 130, 80, "louder or softer:\n(velocity / 100)²,\nless after its end", "rule", 12)
    book2 = d.box(220, 180, 140, 56, "its template", "rule", 12)
    loud2 = d.box(405, 180, 130, 56, "its loudness", "rule", 12)
    total = d.box(585, 112, 150, 76, "m = (Σ mᵢᵖ)^(1/p)\np = 1.4", "rule", 14)
    d.join(note, book).join(book, loud).join(other, book2).join(book2, loud2)
    d.line((535, 100), (560, 100), (560, 140), (583, 140))
    d.line((535, 208), (560, 208), (560, 160), (583, 160))
    d.text(290, 34, "which: from the score", 11, fill=SOFT)
    d.text(470, 34, "how loud: from the score", 11, fill=SOFT)
    guess = d.box(585, 228, 150, 44, "mel magnitude:\nthe first guess", "data", 12)
    d.join(total, guess)
    d.text(20, 268, "measured once: every key of every player, alone", 11, "start", SOFT)


@diagram(760, 320)
def band_roles(d):
    "What a band's roles are made of: tracks of the song, its chords and its beats"
    for i, (name, role, how) in enumerate((
            ("MELODY track", "MELODY", "a flute, a violin, a lead ..."),
            ("BRIDGE track", "BRIDGE", "strings, a guitar, a pad ..."),
            ("PIANO track", "PIANO", "a piano, an organ, a guitar ..."),
            ("chords", "BASS", "roots, in one of four patterns"),
            ("beats", "DRUMS", "one of seven grooves, and fills"))):
        y = 34 + 54 * i
        a = d.box(20, y, 130, 36, name, "data", 12)
        b = d.box(260, y, 220, 36, f"{role}: {how.split(',')[0] if i > 2 else 'another program'}",
                  "rule" if i < 3 else "new", 12)
        d.join(a, b)
        d.text(492, y + 18, how, 11, "start", SOFT)
        d.line((690, y + 18), (700, y + 18), arrow=False)
    d.line((700, 52), (700, 268), arrow=False).line((700, 160), (724, 160))
    d.text(738, 160, "score", 13, turn=90)
    d.text(20, 16, "a song of POP909", 11, "start", SOFT).text(260, 16, "a band", 11, "start", SOFT)
    d.text(20, 306, "drawn from a seed: programs, levels, places between left and right, "
           "which tracks are missing", 11, "start", SOFT)


@diagram(760, 250)
def corrector(d):
    "A Corrector: the guess is taken away from the noisy mel, the network says what is wrong, and it is added"
    g = d.box(20, 30, 120, 50, "guess g", "known")
    x = d.box(20, 150, 120, 50, "noisy mel x_t", "noise")
    minus = d.box(205, 150, 110, 50, "x_t - α_t g", "plain")
    net = d.box(375, 150, 110, 50, "U-Net F", "network")
    scale = d.box(535, 150, 70, 50, "times s", "plain")
    plus = d.box(650, 90, 36, 36, "+", "plain", 16, round=18)
    d.join(x, minus).join(minus, net).join(net, scale)
    d.line((140, 55), (260, 55), (260, 148)).line((140, 45), (668, 45), (668, 88))
    d.line((605, 175), (668, 175), (668, 128)).line((686, 108), (728, 108))
    d.text(722, 88, "x_0", 14).text(400, 32, "the guess itself", 11, fill=SOFT)
    d.text(570, 216, "s = 0.08 where there is a guess\n1 where there is none, and g = 0", 11, fill=SOFT)
    cond = d.box(375, 78, 110, 36, "condition, t", "data", 12)
    d.join(cond, net)


@diagram(760, 300)
def training_loop(d):
    "The training loop, and what mends its four troubles"
    y, h = 50, 60
    take = d.box(20, y, 110, h, "take a batch\nitems by number", "data", 12)
    ask = d.box(165, y, 100, h, "ask the network:\nits loss", "network", 12)
    finite = d.box(300, y, 100, h, "is the loss\na number?", "rule", 12)
    clip = d.box(435, y, 90, h, "clip the\ngradient", "rule", 12)
    adam = d.box(560, y, 80, h, "Adam\ncorrects", "network", 12)
    follow = d.box(660, y, 85, h, "the average\nfollows", "rule", 12)
    for a, b in ((take, ask), (ask, finite), (clip, adam), (adam, follow)): d.join(a, b)
    d.join(finite, clip, "yes")
    note = d.box(560, 175, 185, 50, "note the loss, and validate,\nwhere it is due", "data", 12)
    save = d.box(300, 175, 200, 50, "every so often: a checkpoint\nweights, average, Adam, step", "known", 12)
    d.line((702, 110), (702, 173)).join(note, save)
    d.line((300, 200), (75, 200), (75, 112)).text(180, 188, "the next step", 11, fill=SOFT)
    d.line((350, 110), (350, 140), (90, 140), (90, 112), dashed=True)
    d.text(220, 130, "no: leave the batch out", 11, fill=SOFT)
    d.line((400, 225), (400, 262), (60, 262), (60, 112), dashed=True)
    d.text(230, 252, "after a crash: go on from here", 11, fill=SOFT)


@diagram(760, 250)
def training_numbers(d):
    "Items, batches, a crash and two processes: everything follows from the number of the item"
    colours = ("#e8eef9", "#fbe3d2")
    d.text(20, 36, "one process", 12, "start")
    d.text(20, 106, "cut off after step 2,\nand resumed", 12, "start")
    d.text(20, 176, "process 0 of 2", 12, "start").text(20, 216, "process 1 of 2", 12, "start")
    for i in range(16):
        x, fill = 170 + 35 * i, colours[i // 4 % 2]
        d.box(x, 20, 31, 31, f"{i}", fill, 12, round=3)
        d.box(x + 15 * (i >= 8), 90, 31, 31, f"{i}", fill, 12, round=3)
        d.box(x, 160 + 40 * (i // 2 % 2), 31, 31, f"{i}", fill, 12, round=3)
    d.line((454, 82), (454, 130), arrow=False, dashed=True)
    for step in range(4): d.text(237 + 140 * step, 66, f"step {step + 1}", 11, fill=SOFT)
    d.text(454, 142, "checkpoint: done = 2", 11, fill=SOFT)


@diagram(760, 300)
def model_folder(d):
    "A model's folder, the parts that are built from it, and who needs them"
    d.box(20, 30, 250, 250, dashed=True)
    d.text(145, 16, "a folder", 13, weight="bold")
    files = (("config.json", "data", "settings of every part, the condition,\ndefaults of sampling"),
             ("unet.safetensors", "network", "sample, render and every edit"),
             ("vocoder.safetensors", "network", "all that becomes sound"),
             ("mel.safetensors", "rule", "all that comes from sound or becomes it"),
             ("planner, composer,\ntranscriber .safetensors", "network",
              "compose, transcribe: if they are there"))
    for i, (name, kind, use) in enumerate(files):
        y = 40 + 48 * i
        d.box(34, y, 222, 38, name, kind, 12)
        if i: d.line((256, y + 19), (330, y + 19)).text(480, y + 19, use, 12, "start")
        else: d.text(480, y + 19, use, 12, "start")
    for i, name in enumerate(("UNet", "Vocoder", "MelTransform", "BitUNet, Transcriber")):
        d.box(332, 88 + 48 * i, 138, 38, name, "plain", 12)
    d.line((256, 59), (401, 59), (401, 86), dashed=True)
    d.text(330, 48, "builds", 11, fill=SOFT)


@diagram(760, 280)
def shown_fields(d):
    "What one window of the composer shows and hides, and where its loss is counted"
    d.text(110, 18, "what it is shown", 12).text(480, 18, "where the loss counts", 12)
    rows = (("chords", 1, None), ("groove", 0, None), ("density", 1, None), ("key", 1, None),
            ("melody", 2, "part"), ("bridge", 0, "all"), ("piano", 0, "all"))
    for i, (name, how, loss) in enumerate(rows):
        y = 36 + 32 * i
        d.text(20, y + 11, name, 12, "start")
        cells = ["known" if how == 1 or how == 2 and not 5 <= j < 11 else OFF for j in range(16)]
        d.grid(100, y, 256, 22, [cells])
        if loss:
            count = ["network" if loss == "all" or 5 <= j < 11 else OFF for j in range(16)]
            d.grid(430, y, 256, 22, [count])
        else: d.text(558, y + 11, "given, never asked for", 11, fill=SOFT)
    d.text(100, 266, "blue: shown to the network; orange: it has to say these; white: hidden, or not counted",
           11, "start", SOFT)


@diagram(760, 270)
def lora(d):
    "A low-rank adapter: beside the frozen matrix W stand two thin ones, A and B, and only they learn"
    x = d.box(20, 110, 70, 46, "input x", "data")
    W = d.box(180, 30, 150, 100, "W\n352 x 352\nfrozen", "known")
    A = d.box(180, 180, 150, 30, "A: 16 x 352", "new", 12)
    B = d.box(400, 160, 34, 70, "B", "new", 12)
    d.text(417, 246, "352 x 16", 11, fill=SOFT).text(255, 226, "learns; begins at random", 11, fill=SOFT)
    d.text(520, 196, "learns; begins at zero", 11, fill=SOFT)
    plus = d.box(560, 115, 36, 36, "+", "plain", 16, round=18)
    out = d.box(650, 110, 90, 46, "W x + B A x", "data", 13)
    d.line((90, 125), (130, 125), (130, 80), (178, 80)).line((90, 141), (130, 141), (130, 195), (178, 195))
    d.join(A, B)
    d.line((330, 80), (578, 80), (578, 113)).line((434, 175), (578, 175), (578, 153)).join(plus, out)
    d.text(255, 16, "123,904 numbers", 11, fill=SOFT)
    d.text(660, 230, "A and B together:\n11,264 numbers", 11, fill=SOFT)


@diagram(760, 200)
def wear(d):
    "What a recording does to a sound, in the order in which it is laid over the mel magnitude"
    steps = (("tuning", "bins move", "0.4"), ("room", "past power\nis added", "0.4"),
             ("filter", "each bin is\nmultiplied", "0.8"), ("noise", "power\nis added", "0.5"),
             ("compression", "quiet moments\nlouder", "0.3"))
    last = d.box(14, 60, 84, 60, "mel\nmagnitude", "data", 12)
    for i, (name, what, often) in enumerate(steps):
        box = d.box(122 + 107 * i, 60, 88, 60, name, "noise", 12)
        d.text(166 + 107 * i, 146, what, 11, fill=SOFT).text(166 + 107 * i, 40, often, 12)
        d.join(last, box)
        last = box
    d.join(last, d.box(660, 60, 84, 60, "logarithm,\nnetwork", "network", 12))
    d.text(14, 40, "how often:", 11, "start", SOFT)
    d.text(14, 186, "each is drawn from the number of the window", 11, "start", SOFT)
