"""Draws the diagrams of the course, as SVG files beside the notebooks: python scripts/diagrams.py [NAME ...]

A diagram is a function here or in scripts/diagrams_*.py, marked @diagram(width, height); it gets an empty
`Drawing`. The card is light whatever the page around it, so that it can be read in light and dark."""
import importlib
import sys
from html import escape
from pathlib import Path

IMAGES = Path(__file__).parents[1] / "nbs" / "images"
DIAGRAMS = {}  # name: (function, width, height)
CARD, INK, SOFT = "#fdfcf8", "#2b2d33", "#8a8d96"
FILLS = {  # what kind of thing a box is
    "data": "#e8eef9", "network": "#fbe3d2", "rule": "#e3f1e1", "noise": "#ececec", "known": "#dcecf0",
    "new": "#f9dfe6", "plain": CARD,
}


def diagram(width, height):
    "Mark a function f(drawing) as the diagram of its name, of so many pixels."
    def add(f):
        DIAGRAMS[f.__name__] = f, width, height
        return f
    return add


class Drawing:
    "Boxes, arrows and words on a card; x goes right and y goes down, in pixels."
    def __init__(self, width, height, title):
        self.width, self.height, self.title, self.parts = width, height, title, []

    def text(self, x, y, words, size=13, anchor="middle", fill=INK, weight="normal", turn=0):
        "Words, line by line, the middle of them at y. anchor: start, middle or end."
        lines = str(words).split("\n")
        for i, line in enumerate(lines):
            at = y + (i - (len(lines) - 1) / 2) * size * 1.25 + size * 0.35
            how = f' transform="rotate({turn} {x:g} {y:g})"' if turn else ""
            self.parts.append(
                f'<text x="{x:g}" y="{at:g}" font-size="{size}" text-anchor="{anchor}" fill="{fill}" '
                f'font-weight="{weight}"{how}>{escape(line)}</text>')
        return self

    def box(self, x, y, w, h, words="", kind="plain", size=13, dashed=False, round=5):
        "A box with words in it; returns it as (x, y, w, h), for `join`."
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="{round}" '
            f'fill="{FILLS.get(kind, kind)}" stroke="{INK}" stroke-width="1.2"{dash}/>')
        if words: self.text(x + w / 2, y + h / 2, words, size)
        return x, y, w, h

    def line(self, *points, arrow=True, dashed=False, colour=INK, width=1.4):
        "A line through points (x, y), with a head at its end."
        at = " ".join(f"{x:g},{y:g}" for x, y in points)
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        head = ' marker-end="url(#head)"' if arrow else ""
        self.parts.append(
            f'<polyline points="{at}" fill="none" stroke="{colour}" stroke-width="{width}"{dash}{head}/>')
        return self

    def join(self, a, b, words="", dashed=False):
        "An arrow from box a to box b: to the right if b lies there, else down, up or to the left."
        (ax, ay, aw, ah), (bx, by, bw, bh) = a, b
        if bx >= ax + aw: ends = (ax + aw, ay + ah / 2), (bx - 2, by + bh / 2)
        elif by >= ay + ah: ends = (ax + aw / 2, ay + ah), (bx + bw / 2, by - 2)
        elif by + bh <= ay: ends = (ax + aw / 2, ay), (bx + bw / 2, by + bh + 2)
        else: ends = (ax, ay + ah / 2), (bx + bw + 2, by + bh / 2)
        self.line(*ends, dashed=dashed)
        (px, py), (qx, qy) = ends
        if words: self.text((px + qx) / 2, (py + qy) / 2 - 9, words, 11, fill=SOFT)
        return self

    def grid(self, x, y, w, h, colours):
        "Cells, a colour for each, rows of them from the top."
        cell_w, cell_h = w / len(colours[0]), h / len(colours)
        for i, row in enumerate(colours):
            for j, colour in enumerate(row):
                self.parts.append(
                    f'<rect x="{x + j * cell_w:g}" y="{y + i * cell_h:g}" width="{cell_w:g}" '
                    f'height="{cell_h:g}" fill="{FILLS.get(colour, colour)}" stroke="{SOFT}"/>')
        return x, y, w, h

    def svg(self):
        return "\n".join([
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" role="img" '
            'font-family="Helvetica, Arial, sans-serif">',
            f"<title>{escape(self.title)}</title>",
            '<defs><marker id="head" viewBox="0 0 10 10" refX="8" refY="5" markerWidth="7" markerHeight="7" '
            f'orient="auto-start-reverse"><path d="M0 0L10 5L0 10z" fill="{INK}"/></marker></defs>',
            f'<rect width="100%" height="100%" rx="8" fill="{CARD}"/>',
            *self.parts, "</svg>", ""])


def draw(name):
    "The SVG of a diagram; the first line of its docstring is its title."
    f, width, height = DIAGRAMS[name]
    drawing = Drawing(width, height, f.__doc__.strip().splitlines()[0])
    f(drawing)
    return drawing.svg()


@diagram(760, 330)
def pipeline(d):
    "From a score or from noise to sound: what msanii does, and where each notebook stands"
    x, y, w, h = 20, 40, 128, 56
    d.text(20, 20, "nothing, chords, a key, words", 12, "start", SOFT)
    composer = d.box(x, y, w, h, "composer\n14, 35, 50", "network")
    score = d.box(x + 190, y, w, h, "score\n19 to 26", "data")
    guess = d.box(x + 380, y, w, h, "first guess\n27", "rule")
    unet = d.box(x + 380, y + 110, w, h, "U-Net\n12, 29, 48", "network")
    noise = d.box(x + 190, y + 110, w, h, "noise\n10, 11", "noise")
    mel = d.box(x + 580, y + 110, w, h, "mel spectrogram\n01", "data")
    vocoder = d.box(x + 580, y + 210, w, h, "vocoder, phase\n13, 02", "network")
    sound = d.box(x + 380, y + 210, w, h, "sound\n00", "data")
    hear = d.box(x + 95, y + 210, w, h, "transcriber\n15, 37, 51", "network")
    d.join(composer, score).join(score, guess).join(guess, unet).join(noise, unet).join(unet, mel)
    d.join(mel, vocoder).join(vocoder, sound).join(sound, hear)
    d.line((x + 159, y + 210), (x + 159, y + 28), (x + 188, y + 28))
    d.text(x, y + 282, "blue: data    orange: a network that learned    green: a rule", 11, "start", SOFT)


def main(names):
    for path in sorted(Path(__file__).parent.glob("diagrams_*.py")):  # the drawings of one part each
        importlib.import_module(path.stem)
    for name in names or DIAGRAMS:
        (IMAGES / f"{name}.svg").write_text(draw(name), encoding="utf-8")


if __name__ == "__main__":
    sys.modules["diagrams"] = sys.modules["__main__"]  # one table, whoever imports it
    main(sys.argv[1:])
