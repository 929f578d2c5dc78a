"""Diagrams of the notebooks 13 to 15 and 19 to 25."""
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
             ("norm of\neach frame", "rule"), ("d → 3 d", "network"), ("GELU", "rule"),
             ("3 d → d", "network"))
    boxes = [d.box(20 + 112 * i, 70, 96, 44, name, kind, 11) for i, (name, kind) in enumerate(names)]
    plus = d.box(694, 77, 30, 30, "+", round=15)
    for a, b in zip(boxes, [*boxes[1:], plus]): d.join(a, b)
    d.line((68, 70), (68, 34), (709, 34), (709, 75)).line((724, 92), (752, 92))
    d.text(390, 22, "what came in, unchanged", 11, fill=SOFT)
    d.text(180, 138, "mixes frames", 11, fill=SOFT).text(516, 138, "mix features", 11, fill=SOFT)


@diagram(760, 240)
def midi_bytes(d):
    "A MIDI file of one note, byte by byte: a header, and a track of three events"
    rows = (
        ("the header", (("4D 54 68 64", "M T h d", "plain"), ("00 00 00 06", "6 bytes follow", "plain"),
                        ("00 01", "type 1", "known"), ("00 01", "1 track", "known"),
                        ("01 E0", "480 ticks\na beat", "known"))),
        ("a track", (("4D 54 72 6B", "M T r k", "plain"), ("00 00 00 0D", "13 bytes follow", "plain"),
                     ("00", "at\nonce", "rule"), ("90 3C 5A", "key 60 down,\nvelocity 90", "data"),
                     ("83 60", "480 ticks\nlater", "rule"), ("80 3C 00", "key 60 up", "data"),
                     ("00", "at\nonce", "rule"), ("FF 2F 00", "end of\nthe track", "new"))))
    for y, (name, parts) in zip((40, 150), rows):
        d.text(20, y - 16, name, 12, "start", SOFT)
        x = 20
        for digits, words, kind in parts:
            w = 34 * len(digits.split())
            d.box(x, y, w, 30, digits, kind, 12, round=2)
            d.text(x + w / 2, y + 48, words, 11)
            x += w


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


@diagram(760, 250)
def corpus(d):
    "A corpus: songs are played once, kept as files, and read again and again as windows"
    song = d.box(20, 100, 80, 44, "song", "data")
    score = d.box(150, 100, 110, 44, "score,\nperhaps changed", "data", 12)
    d.join(song, score)
    sound = d.box(320, 40, 110, 36, "render_score", "rule", 12)
    table = d.box(320, 168, 110, 36, "band_notes", "rule", 12)
    d.line((205, 100), (205, 58), (318, 58)).line((205, 144), (205, 186), (318, 186))
    d.box(480, 20, 130, 210, "", "plain", dashed=True)
    d.text(545, 122, "corpus.json", 12)
    wave = d.box(492, 40, 106, 36, "001.npy", "known", 12)
    notes = d.box(492, 168, 106, 36, "001.notes.npy", "known", 12)
    window = d.box(650, 90, 90, 64, "window i:\nwaveform,\nrolls", "new", 12)
    d.join(sound, wave).join(table, notes)
    d.line((598, 58), (695, 58), (695, 88)).line((598, 186), (695, 186), (695, 156))
    d.text(205, 222, "other instruments, an excerpt, rests:\ndrawn from the song's number", 11, fill=SOFT)
    d.text(545, 240, "on disk", 11, fill=SOFT)


@diagram(760, 260)
def windows_by_number(d):
    "Item i: seed and index start a generator, which draws a song and a frame"
    pair = d.box(20, 30, 110, 40, "seed 0, item 7", "data", 12)
    rng = d.box(180, 30, 120, 40, "a generator of\nits own", "rule", 12)
    place = d.box(350, 30, 120, 40, "song 4,\nframe 25", "data", 12)
    d.join(pair, rng).join(rng, place)
    for song in range(1, 5):
        d.text(60, 77 + 36 * song, f"song {song}", 12, "end")
        d.box(75, 64 + 36 * song, 640, 26, "", "plain")
    for item, song, frame in ((5, 3, 248), (6, 2, 267), (7, 4, 25)):
        d.box(75 + frame * 640 / 904, 64 + 36 * song, 255 * 640 / 904, 26, f"item {item}", "new", 12)
    d.line((410, 70), (410, 90), (130, 90), (130, 206))
    d.text(660, 40, "Any worker finds the same\nitem 7, whatever has been\nread before.", 11, fill=SOFT)


@diagram(760, 250)
def sheet_grid(d):
    "Two bars of a sheet: sixteenths, beats, bars, notes, and the seconds of each beat"
    left, cell = 70, 21
    def at(s): return left + cell * s
    for name, y in (("bar", 24), ("beat", 48), ("slot", 72), ("notes", 130), ("s", 208)):
        d.text(left - 12, y, name, 12, "end")
    for bar in range(2): d.box(at(16 * bar), 14, 16 * cell, 20, f"{bar}", "data", 12, round=2)
    for beat in range(8): d.box(at(4 * beat), 38, 4 * cell, 20, f"{beat % 4}", "known", 11, round=2)
    d.grid(left, 62, 32 * cell, 20, [["plain"] * 32])
    for s in range(32): d.text(at(s) + cell / 2, 72, s % 16, 9, fill=SOFT)
    for s in range(33):
        colour, width = "#e4e4e4" if s % 4 else SOFT, 2 if s % 16 == 0 else 1
        d.line((at(s), 92), (at(s), 190), arrow=False, colour=colour, width=width)
    melody = (0, 4, 1), (4, 6, 0), (6, 8, 1), (8, 16, 2), (16, 20, 0), (22, 24, 1), (24, 32, 2)
    for kind, notes in (("new", melody), ("rule", ((0, 16, 4), (16, 32, 3)))):
        for on, off, row in notes: d.box(at(on), 94 + 19 * row, cell * (off - on), 16, "", kind, round=2)
    seconds = 0.06
    for beat, length in enumerate((0.67, 0.66, 0.68, 0.7, 0.72, 0.66, 0.65, 0.67, 0)):
        d.text(at(4 * beat), 208, f"{seconds:.2f}", 11, fill=SOFT)
        seconds += length
    words = "pink: melody, green: piano. Notes begin and end on lines; the times below know the tempo."
    d.text(left, 234, words, 11, "start", SOFT)


@diagram(760, 170)
def onset_sustain(d):
    "The two channels of a sheet's roll: a key that is struck four times, and one that is held"
    struck = "struck four times, four sixteenths each", (0, 4, 8, 12)
    for i, (words, on) in enumerate((struck, ("held", (0,)))):
        x = 90 + 340 * i
        d.text(x + 150, 26, words, 12)
        onset = ["new" if j in on else "plain" for j in range(16)]
        sustain = ["plain" if j in on else "known" for j in range(16)]
        d.grid(x, 46, 304, 24, [onset])
        d.grid(x, 86, 304, 24, [sustain])
    d.text(80, 58, "onset", 12, "end").text(80, 98, "sustain", 12, "end")
    words = "A note begins at its onset, and goes on as long as sustains follow it."
    d.text(90, 138, words, 11, "start", SOFT)


NOTES = "C Db D Eb E F Gb G Ab A Bb B".split()


def _rows(d, x, y, pitches, bass):
    "The 24 numbers of a chord, as cells."
    for half, on, kind in ((0, pitches, "new"), (1, (bass,), "known")):
        at = x + half * 290
        d.grid(at, y, 276, 24, [[kind if i in on else "plain" for i in range(12)]])
        for i in range(12): d.text(at + 23 * i + 11.5, y + 12, int(i in on), 11)


@diagram(760, 240)
def chord_symbol(d):
    "The parts of a chord symbol, and the 24 numbers that they become"
    root = d.box(80, 20, 70, 40, "F#", "data", 18)
    quality = d.box(154, 20, 100, 40, "m7b5", "rule", 18)
    bass = d.box(258, 20, 60, 40, "/C", "known", 18)
    parts = "root: 6", "quality: 0 3 6 10\nsemitones above the root", "bass: 0"
    for box, words in zip((root, quality, bass), parts):
        d.text(box[0] + box[2] / 2, 84, words, 11, fill=SOFT)
    d.text(560, 40, "6 + (0, 3, 6, 10) = 6, 9, 12, 16\nthat is F#, A, C, E: pitch classes 6, 9, 0, 4", 12)
    for half in range(2):
        for i, name in enumerate(NOTES): d.text(100 + 290 * half + 23 * i + 11.5, 152, name, 11, fill=SOFT)
    _rows(d, 100, 166, (0, 4, 6, 9), 0)
    d.text(90, 178, "24 numbers", 12, "end")
    d.text(238, 212, "which notes", 11, fill=SOFT).text(528, 212, "which of them is lowest", 11, fill=SOFT)


@diagram(760, 170)
def chord_rows(d):
    "Transposing a chord rotates each half of its 24 numbers"
    for half in range(2):
        for i, name in enumerate(NOTES): d.text(100 + 290 * half + 23 * i + 11.5, 24, name, 11, fill=SOFT)
    for y, name, pitches, bass in ((40, "C/E", (0, 4, 7), 4), (110, "D/F#", (2, 6, 9), 6)):
        d.text(88, y + 12, name, 13, "end")
        _rows(d, 100, y, pitches, bass)
    for x in (0, 4, 7): d.line((100 + 23 * x + 11.5, 66), (100 + 23 * (x + 2) + 11.5, 108))
    d.line((390 + 23 * 4 + 11.5, 66), (390 + 23 * 6 + 11.5, 108))
    d.text(680, 88, "two semitones\nhigher", 11, fill=SOFT)


@diagram(760, 130)
def splits(d):
    "The songs of POP909 in a row, and what each part of them is for"
    left, width = 30, 700
    for first, last, words, kind in ((1, 779, "1 to 779: to learn from", "data"), (780, 799, "", "rule"),
                                     (800, 909, "800 to 909", "new")):
        x, w = left + width * (first - 1) / 909, width * (last - first + 1) / 909
        d.box(x, 30, w, 44, words, kind, 12, round=1)
    d.text(left + width * 789 / 909, 94, "780 to 799:\nto choose by", 11, "end", SOFT)
    d.text(left + width, 94, "to report\non", 11, "end", SOFT)


@diagram(760, 210)
def excerpt_cut(d):
    "An excerpt of a score: a note that is held into it begins with it"
    start, end = 220, 600
    for x, w, y, kind in ((60, 120, 40, "plain"), (140, 150, 70, "new"), (230, 110, 100, "data"),
                          (350, 160, 40, "data"), (520, 170, 70, "data"), (640, 80, 100, "plain")):
        d.box(x, y, w, 20, "", kind, round=2)
    for x in (start, end): d.line((x, 20), (x, 170), arrow=False, dashed=True)
    d.text(start, 184, "start", 12).text(end, 184, "start + seconds", 12)
    d.text(210, 134, "held into it: the naive cut\nloses it, ours begins it here", 11, "end", SOFT)
    d.text(612, 134, "cut off at the end", 11, "start", SOFT)
    d.text(410, 134, "blue: begins inside", 11, fill=SOFT)


@diagram(760, 290)
def condition_fields(d):
    "The fields of a condition, one below the other, beside x_t: what enters the U-Net"
    x, w = 150, 250
    d.text(x + w / 2, 20, "condition: 658 rows, a column for each frame", 12)
    d.box(x, 36, w, 120, "score: 528 rows\nthree roles, struck and sounding", "data", 12, round=1)
    d.box(x, 156, w, 18, "shown: 1 1 1 1 1 1 1 1 1 1", "known", 10, round=1)
    d.box(x, 182, 90, 60, "context:\n128 rows", "data", 12, round=1)
    d.box(x + 90, 182, 60, 60, "0", "plain", 12, round=1)
    d.box(x + 150, 182, 100, 60, "the mel that\nis kept", "data", 12, round=1)
    shown = (0, 90, "1 1 1 1", "known"), (90, 60, "0 0", "plain"), (150, 100, "1 1 1 1", "known")
    for at, width, words, kind in shown:
        d.box(x + at, 242, width, 18, words, kind, 10, round=1)
    d.text(x - 12, 96, "rows 0 to 527", 11, "end", SOFT).text(x - 12, 165, "row 528", 11, "end", SOFT)
    d.text(x - 12, 212, "rows 529 to 656", 11, "end", SOFT).text(x - 12, 251, "row 657", 11, "end", SOFT)
    d.text(x + 120, 276, "a hole", 11, fill=SOFT)
    noise = d.box(460, 190, 100, 60, "x_t\n128 mel bins", "noise", 12)
    net = d.box(630, 100, 100, 60, "U-Net", "network")
    d.line((400, 110), (628, 122)).line((560, 220), (680, 220), (680, 162))


@diagram(760, 200)
def guidance(d):
    "Guidance: from the answer without the condition, through the answer with it, and beyond"
    points = ((120, 130, "0: without\nthe condition"), (330, 90, "1: with it"), (540, 50, "2: twice\nas far"))
    d.line((120, 130), (700, 19.5), dashed=True, colour=SOFT)
    d.line((120, 130), (318, 92.3), width=2.5)
    for x, y, words in points:
        d.box(x - 7, y - 7, 14, 14, "", "network", round=7)
        d.text(x, y + 34, words, 12)
    d.text(215, 88, "what the condition adds", 11, fill=SOFT)
    d.text(640, 50, "g", 13, fill=SOFT)
