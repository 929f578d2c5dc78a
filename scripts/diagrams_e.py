"The diagrams of rendering, composing, hearing, live music, measures, distances, the report and the page."
from diagrams import INK, SOFT, diagram

COLOURS = ("#7c9bd6", "#e9a06f", "#86b981", "#c98aa5")


@diagram(760, 250)
def render_steps(d):
    "How a score becomes sound: what is written, what was measured, what a network adds, what is drawn"
    y, w, h = 60, 112, 60
    score = d.box(20, y, w, h, "score", "data")
    guess = d.box(164, y, w, h, "first guess\nthe sum of its keys", "rule", 12)
    unet = d.box(308, y, w, h, "U-Net corrects\n5 passes", "network", 12)
    beats = d.box(452, y, w, h, "texture\ndrawn by the seed", "noise", 12)
    sound = d.box(612, y, 128, h, "vocoder, phases\nsound", "network", 12)
    d.join(score, guess).join(guess, unet).join(unet, beats).join(beats, sound)
    noise = d.box(308, 160, w, 40, "noise", "noise")
    d.line((364, 160), (364, 122))
    d.line((76, 120), (76, 140), (340, 140), (340, 122), dashed=True)
    d.text(196, 152, "the roll: which keys are down", 11, fill=SOFT)
    stems = d.box(612, 160, 128, 40, "stems", "data")
    d.join(sound, stems)
    d.text(524, 180, "shares of the roles,\nby their guesses", 11, fill=SOFT)
    d.line((580, 180), (610, 180), dashed=True)
    d.text(20, 30, "known before anything is drawn", 11, "start", SOFT)
    d.line((20, 42), (276, 42), arrow=False, colour=SOFT)
    d.text(308, 30, "learned", 11, "start", SOFT).line((308, 42), (420, 42), arrow=False, colour=SOFT)
    d.text(452, 30, "chance", 11, "start", SOFT).line((452, 42), (564, 42), arrow=False, colour=SOFT)
    d.text(20, 230, "green: a rule; orange: a network that learned; grey: drawn at random", 11, "start", SOFT)


@diagram(760, 400)
def compose_steps(d):
    "What compose does, from a wish to a score"
    x, w, h = 20, 150, 46
    wish = d.box(x, 40, w, h, "wish: length, chords,\nform, words, density", "known", 12)
    old = d.box(x, 110, w, h, "or a score, and\nwhat of it stays", "known", 12)
    piece = d.box(220, 74, w, h, "a Piece\nblank, or partly kept", "data", 12)
    d.join(wish, piece).join(old, piece)
    plan = d.box(220, 180, w, h, "planner walks\n40 passes, a token a bar", "network", 12)
    notes = d.box(220, 286, w, h, "composer walks\n40 passes, a sixteenth", "network", 12)
    d.join(piece, plan).join(plan, notes)
    first = d.box(440, 170, 300, 66, "", "rule")
    d.text(590, 190, "chords, groove and density of each bar", 12)
    d.text(590, 216, "Known: what is given; Tied: equal letters", 11, fill=SOFT)
    second = d.box(440, 276, 300, 66, "", "rule")
    d.text(590, 296, "strokes and sustains of three roles", 12)
    d.text(590, 322, "Known; Tied; Struck: the groove is obeyed", 11, fill=SOFT)
    d.join(plan, first).join(notes, second)
    out = d.box(x, 286, w, h, "loudness, words, band\nkept notes as they were", "rule", 12)
    d.join(notes, out)
    midi = d.box(x, 364, w, 28, "a score (MIDI)", "data", 12)
    d.join(out, midi)
    noise = d.box(440, 74, 150, h, "noise, from the seed", "noise", 12)
    d.line((515, 120), (515, 142), (350, 142), (350, 178))
    d.line((590, 97), (752, 97), (752, 262), (350, 262), (350, 284))


@diagram(760, 300)
def compose_tied(d):
    "Three small denoisers: sections are tied, strokes are obeyed, what is given stays"
    d.text(20, 24, "Tied: bars with the same letter share one guess", 12, "start")
    letters = "AABA"
    for i, letter in enumerate(letters):
        for j in range(4):
            d.box(20 + 104 * i + 25 * j, 40, 25, 26, f"{letter}{j + 1}",
                  "data" if letter == "A" else "new", 11, round=0)
    d.line((32, 68), (32, 84), (136, 84), (136, 70)).line((136, 84), (344, 84), (344, 70))
    d.text(470, 62, "the log odds of all A1 are averaged\nin every step, so they stay equal", 11, "start",
           SOFT)
    d.text(20, 116, "Struck: the groove says where a role may strike", 12, "start")
    strikes = (0, 3, 6, 8, 11, 14)
    d.grid(20, 130, 416, 20, [["rule" if t in strikes else "plain" for t in range(16)]])
    d.text(470, 140, "green: one note at least; white: none", 11, "start", SOFT)
    d.text(20, 176, "Known: what is given stays, the rest is made around it", 12, "start")
    for r, (name, kept) in enumerate((("melody", 16), ("bridge", 0), ("piano", 4))):
        d.grid(80, 190 + 24 * r, 356, 20, [["known" if t < kept else "noise" for t in range(16)]])
        d.text(72, 200 + 24 * r, name, 11, "end")
    d.text(470, 214, "blue: kept in every guess\ngrey: still noise, becomes notes", 11, "start", SOFT)
    words = "All three are wrapped around the same network, and the sampler does not know of them."
    d.text(20, 282, words, 11, "start", SOFT)


@diagram(760, 290)
def live_timeline(d):
    "Live: bars are composed ahead, made in windows, and heard a little later"
    x, bar = 120, 100
    for i in range(7): d.line((x + bar * i, 40), (x + bar * i, 262), arrow=False, dashed=True, colour=SOFT)
    for i in range(6): d.text(x + bar * (i + 0.5), 28, f"bar {i}", 12)
    for y, name in ((66, "composed"), (116, "window of bar 2"), (166, "window of bar 3"), (222, "heard")):
        d.text(x - 10, y, name, 12, "end")
    d.box(x, 50, 4 * bar, 32, "four bars at once", "network", 12)
    d.box(x + 4 * bar, 50, 2 * bar, 32, "the next four", "network", 12, dashed=True)
    for i, y in ((2, 100), (3, 150)):
        d.box(x + bar * (i - 1.2), y, 1.2 * bar, 32, "on the tape", "known", 12)
        d.box(x + bar * i, y, bar, 32, f"made: bar {i}", "network", 12)
        d.box(x + bar * (i + 1), y, 32, 32, "", "noise", dashed=True)
    d.text(x + bar * 4 + 40, 116, "what may come: made again", 11, "start", SOFT)
    d.line((x + bar * 4 + 37, 116), (x + bar * 3 + 34, 116), colour=SOFT)
    for i in range(4): d.box(x + bar * i + 5, 206, bar, 32, f"bar {i}", "data", 12)
    d.text(x + 4 * bar + 16, 222, "93 ms later than its score", 11, "start", SOFT)
    d.line((x + 2.35 * bar, 276), (x + 2.35 * bar, 242), colour="#b00020")
    words = "a wish arrives: it holds from bar 4 on, since bar 3 is made while bar 2 is heard"
    d.text(x + 2.35 * bar + 8, 274, words, 11, "start", "#b00020")
    d.text(20, 274, "time goes right", 11, "start", SOFT)


@diagram(760, 190)
def loop_circle(d):
    "A piece along a line, cut, and a piece on a circle"
    import math
    d.text(150, 22, "cut from a line", 12)
    d.box(40, 60, 220, 40, "four bars", "data")
    d.line((262, 80), (300, 80), dashed=True)
    d.text(310, 62, "what rings is lost", 11, fill=SOFT)
    d.line((2, 80), (36, 80), dashed=True, arrow=False)
    d.text(40, 122, "nothing rings into the beginning", 11, "start", SOFT)
    cx, cy, r = 540, 108, 58
    d.text(cx, 16, "made on a circle", 12)
    def at(turn, k=1.0):
        angle = 2 * math.pi * turn
        return cx + k * r * math.sin(angle), cy - k * r * math.cos(angle)
    d.line(*[at(i / 60) for i in range(1, 61)], width=10, colour="#c5d4ef", arrow=False)
    d.line(*[at(i / 60, 1.25) for i in range(50, 59)])
    for i in range(4): d.line(at(i / 4, 0.86), at(i / 4, 1.14), arrow=False)
    for i in range(4): d.text(*at(i / 4 + 0.125, 0.68), f"{i + 1}", 12)
    d.text(632, 70, "bar 4 hears bar 1,\nand bar 1 what rings\nof bar 4", 11, "start", SOFT)


@diagram(760, 250)
def transcribe_steps(d):
    "From a recording to a score"
    y, w, h = 50, 122, 56
    sound = d.box(20, y, w, h, "recording", "data")
    net = d.box(172, y, w, h, "transcriber", "network")
    rows = d.box(324, y, w, h, "probabilities:\nstruck, sounding,\nloudness, drums", "data", 11)
    notes = d.box(476, y, w, h, "notes\nby thresholds", "rule", 12)
    score = d.box(628, 140, 112, h, "score\n(MIDI)", "data", 12)
    d.join(sound, net).join(net, rows).join(rows, notes)
    beats = d.box(324, 140, w, h, "beats\nfrom what is struck", "rule", 12)
    bars = d.box(476, 140, w, h, "bars\nharmony and bass", "rule", 12)
    d.join(rows, beats).join(beats, bars).join(bars, score)
    d.line((598, y + h / 2), (684, y + h / 2), (684, 138))
    d.text(612, 50, "melody or piano,\nchords, key", 11, "start", SOFT)
    d.text(20, 232, "blue: data; orange: a network that learned; green: a rule", 11, "start", SOFT)


@diagram(760, 300)
def measures_beside(d):
    "What stands beside a piece decides which measures can be asked"
    rows = (("its original", "reconstruction", "6: how far are magnitudes, mel, loudness?", "known"),
            ("nothing", "music", "9: tempo, key, chords, returns, silence", "noise"),
            ("annotations", "annotation_agreement", "3: beats, key, chords, as they are written?", "rule"),
            ("its score", "score_agreement", "3: chroma, onsets, notes", "data"),
            ("itself, at a seam", "continuity", "6: level, spectrum, harmony, tempo, beat, click", "new"))
    d.text(20, 24, "beside the piece", 11, "start", SOFT).text(230, 24, "function", 11, "start", SOFT)
    d.text(440, 24, "measures", 11, "start", SOFT)
    for i, (beside, function, what, kind) in enumerate(rows):
        y = 40 + 46 * i
        a = d.box(20, y, 150, 34, beside, kind, 12)
        b = d.box(220, y, 180, 34, function, "plain", 12)
        d.join(a, b).text(440, y + 17, what, 12, "start")
    d.text(20, 284, "6 + 9 + 3 + 3 + 6 = 27", 12, "start", INK)


@diagram(760, 330)
def distances_sets(d):
    "Two distances of two sets, and the floor of chance"
    import random
    rng = random.Random(3)
    def dot(x, y, colour):
        d.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}" stroke="{INK}" '
                       'stroke-width="0.6"/>')
    def oval(x, y, a, b, colour):
        d.parts.append(f'<ellipse cx="{x}" cy="{y}" rx="{a}" ry="{b}" fill="none" stroke="{colour}" '
                       'stroke-width="2"/>')
    blue, orange = COLOURS[0], COLOURS[1]
    def cloud(x, y, a, b, colour, n=11):
        points = [(x + rng.gauss(0, a / 2.3), y + rng.gauss(0, b / 2.3)) for _ in range(n)]
        for point in points: dot(*point, colour)
        return points
    d.text(125, 24, "Fréchet", 13, weight="bold")
    cloud(85, 130, 55, 40, blue), cloud(175, 110, 40, 60, orange)
    oval(85, 130, 60, 45, blue), oval(175, 110, 45, 66, orange)
    d.line((85, 130), (173, 110))
    d.text(125, 228, "each set is an oval:\nhow far are the centres,\nhow different the widths?", 12)
    d.text(380, 24, "kernel", 13, weight="bold")
    p, q = cloud(335, 130, 45, 42, blue), cloud(430, 110, 42, 50, orange)
    for i in range(0, 10, 2):
        d.line(p[i], p[i + 1], arrow=False, colour=blue).line(q[i], q[i + 1], arrow=False, colour=orange)
    for i in range(0, 10, 3): d.line(p[i], q[i], arrow=False, dashed=True, colour=SOFT)
    d.text(380, 228, "pairs: are those within a set\nmore alike than\nthose between the sets?", 12)
    d.text(640, 24, "floor", 13, weight="bold")
    for _ in range(22):
        dot(640 + rng.uniform(-75, 75), 120 + rng.uniform(-55, 60), rng.choice((blue, orange)))
    d.text(640, 228, "all pieces are dealt out anew,\n200 times: 95% of these\ndistances lie below", 12)
    for x in (255, 510): d.line((x, 30), (x, 270), arrow=False, colour=SOFT)
    d.text(20, 304, "A distance above its floor tells the sets apart; one below tells nothing.", 12, "start")


@diagram(760, 300)
def report_steps(d):
    "From two folders to a report"
    a = d.box(20, 40, 120, 50, "folder A\nto be judged", "data", 12)
    b = d.box(20, 120, 120, 50, "folder B\nfor comparison", "known", 12)
    each = d.box(190, 70, 150, 70, "each file, in parallel\nmeasures, features", "rule", 12)
    pairs = d.box(190, 200, 150, 50, "files of one name\nsample for sample", "rule", 12)
    cache = d.box(190, 12, 150, 32, "kept by content", "plain", 12, dashed=True)
    d.join(a, each).join(b, each)
    d.line((265, 46), (265, 68), dashed=True)
    d.line((80, 172), (80, 225), (188, 225))
    means = d.box(400, 30, 150, 44, "means, intervals", "rule", 12)
    far = d.box(400, 92, 150, 44, "distances, floors", "rule", 12)
    odd = d.box(400, 154, 150, 44, "how strange is a file?", "rule", 12)
    for box in (means, far, odd): d.join(each, box)
    d.line((340, 225), (475, 225), (475, 260), (580, 260), arrow=False)
    d.text(480, 218, "0 is perfect", 11, "start", SOFT)
    out = d.box(610, 60, 130, 32, "report.md", "data", 12)
    js = d.box(610, 112, 130, 32, "report.json", "data", 12)
    page = d.box(610, 164, 130, 50, "report.html\nplots and players", "data", 12)
    d.line((552, 52), (580, 52), arrow=False).line((552, 114), (580, 114), arrow=False)
    d.line((552, 176), (580, 176), arrow=False)
    d.line((580, 52), (580, 260), arrow=False)
    for box in (out, js, page): d.line((580, box[1] + box[3] / 2), (608, box[1] + box[3] / 2))
    words = 'A file that cannot be read becomes a line under "Left out"; the others go on.'
    d.text(20, 284, words, 11, "start", SOFT)


@diagram(760, 300)
def studio_parts(d):
    "Parts of the studio: page, thread, table of tasks, model, folder"
    d.box(8, 34, 204, 226, "", "#f4f4f6", dashed=True)
    d.text(110, 22, "browser", 12, fill=SOFT)
    d.box(262, 34, 282, 226, "", "#f4f4f6", dashed=True)
    d.text(403, 22, "Python", 12, fill=SOFT)
    page = d.box(20, 60, 178, 60, "page: buttons, sliders,\nplayers, pictures", "plain", 12)
    live = d.box(20, 180, 178, 60, "live player:\nthe clock of the sound", "plain", 12)
    studio = d.box(276, 60, 116, 60, "Studio\nwidgets", "rule", 12)
    job = d.box(418, 60, 116, 60, "Job\na thread", "rule", 12)
    panel = d.box(276, 180, 116, 60, "LivePanel", "rule", 12)
    session = d.box(418, 180, 116, 60, "Live session\na thread a bar", "rule", 12)
    table = d.box(580, 20, 160, 44, "table of tasks (49)", "known", 12)
    model = d.box(580, 110, 160, 60, "Msanii\nthe networks", "network", 12)
    folder = d.box(580, 216, 160, 60, "folder: files, results,\nrecords", "data", 12)
    both = lambda a, b: d.line(a, b).line(b, a)
    both((200, 90), (274, 90)), both((394, 90), (416, 90)), both((394, 210), (416, 210))
    d.line((274, 216), (200, 216)).line((200, 200), (274, 200))
    d.text(237, 190, "more?", 10, fill=SOFT).text(237, 228, "a bar", 10, fill=SOFT)
    d.text(405, 134, "step, done; cancel", 10, fill=SOFT)
    d.line((580, 42), (334, 42), (334, 58), dashed=True)
    d.line((536, 90), (556, 90), (556, 132), (578, 132))
    d.line((536, 210), (560, 210), (560, 150), (578, 150))
    d.line((476, 122), (476, 154), (550, 154), (550, 246), (578, 246))
    words = "The browser asks, Python answers; what takes long runs in a thread, and says so step by step."
    d.text(20, 284, words, 11, "start", SOFT)


@diagram(760, 270)
def command_steps(d):
    "One row of the table of tasks is a method, a command, and a page"
    row = d.box(20, 96, 170, 70, "a row of TASKS:\nfiles, settings, a sentence", "known", 12)
    names = (("m.style_transfer(x, 0.5)", "Python"), ("msanii style-transfer a.wav", "a shell"),
             ("button, sliders, run", "the studio"))
    for i, (words, where) in enumerate(names):
        b = d.box(250, 40 + 72 * i, 200, 44, words, "plain", 12)
        d.join(row, b).text(350, 32 + 72 * i, where, 11, fill=SOFT)
        d.line((450, b[1] + 22), (500, 131))
    check = d.box(504, 96, 100, 70, "check\nranges, files", "rule", 12)
    good = d.box(640, 60, 104, 44, "result\nexit code 0", "data", 12)
    bad = d.box(640, 158, 104, 44, "one line\nexit code 2", "new", 12)
    d.join(check, good).join(check, bad)
    words = "A fault of the input is one line; a fault of ours shows its traceback."
    d.text(20, 254, words, 11, "start", SOFT)
