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
        ("bits", "data", ones, "d"), ("x_0 = 2b - 1", "data", clean, "+d"), ("x_t, noised", "noise", noised, "+.2f"),
        ("evidence", "rule", own, "+.1f"), ("the network:\nother cells", "network", others, "+d"),
        ("probability", "new", p, ".2f"), ("mean, 2p - 1", "new", [2 * q - 1 for q in p], "+.2f"),
    )
    for i, (name, kind, values, form) in enumerate(columns):
        x = 20 + 105 * i
        d.text(x + 40, 32, name, 12)
        for j, value in enumerate(values): d.box(x, 58 + 34 * j, 80, 30, format(value, form), kind, 12, round=3)
        if i: d.text(x - 12, 125, "+" if i == 4 else "→", 15, fill=SOFT)
    d.text(20, 212, "Here α = 0.6, σ = 0.8, and a quarter of all cells are ones: the prior's log odds, -1.1, are added"
           " to both.", 11, "start", SOFT)


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
