"""Report on a model, by msanii.report, at fixed seeds.

    POP909=<folder or zip> python benchmarks/report.py [--model FOLDER] [--songs 800-859] [--seconds 20]
                                                       [--steps N] [--kinds sample ...] [--out report]

Prints a table (markdown) for the README and the model card. The songs are those of POP909 if the variable
POP909 names it, and composed ones otherwise; from each, `--seconds` from `--start` on are rendered. Pieces
that the model composes, from nothing and over chords, last twice `--start` longer, and their middle is heard:
played by FluidSynth, as the songs are, and by the network. Sounds, per-file results and the pages of
`evaluate_folders` are kept under --out, and a second call with the same weights, code and settings takes up
what is there."""
import math
from pathlib import Path

import pretty_midi
import torch

from msanii import Msanii
from msanii.audio import SAMPLE_RATE, InputError, load_audio, save_audio
from msanii.distances import bootstrap
from msanii.long import splice
from msanii.measures import annotation_agreement, edit_continuity, score_agreement
from msanii.phase import griffin_lim
from msanii.pop909 import excerpt, open_songs
from msanii.report import evaluate_folders, interval_text
from msanii.score import render_score

from about import about, arguments, head, key, row
from compose import CHORDS


def numbers(text):
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def real(songs, number, start, seconds):
    "Score and sound of an excerpt."
    score = excerpt(songs[number].score, start, seconds)
    return score, fluidsynth(score, seconds)


def fluidsynth(score, seconds):
    "A score as FluidSynth plays it, (2, n)."
    x = fit(render_score(score), round(seconds * SAMPLE_RATE))
    return x / x.abs().max().clamp(min=1)


def keep(path, make):
    "The sound in a file, made if it is not there."
    if not path.exists(): save_audio(path, make().cpu().clamp(-1, 1))
    return load_audio(path)


def plain_inverse(m, x):
    "To mel and back without any network: the baseline of the vocoder."
    magnitude = m.mel.to_magnitude(m.mel(x[None].to(m.device)))
    return griffin_lim(magnitude, m.settings.iterations, length=x.shape[1])[0]


def noise(x, seed):
    "Noise as loud as the sound."
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(seed)) * x.square().mean().sqrt()


def scrambled(x, seed):
    "The same sound, its half seconds in a random order: the same notes without their music."
    pieces = x.split(SAMPLE_RATE // 2, dim=1)
    order = torch.randperm(len(pieces), generator=torch.Generator().manual_seed(seed))
    return torch.cat([pieces[i] for i in order], dim=1)


def repeated(x, span):
    "The same sound, a hole in it filled with what was before the hole, without any network."
    a, b = (round(second * SAMPLE_RATE) for second in span)
    new, keep = x.roll(b - a, 1), torch.ones(x.shape[1], dtype=torch.bool)
    keep[a:b] = False
    return splice(x, new, keep, round(0.05 * SAMPLE_RATE))


def makers(m, seconds, steps, start, top):
    "{kind of sound: function of (number, score, real)}, of the tasks that this model has; what is inpainted."
    span, how = [(seconds / 3, 2 * seconds / 3)], dict(steps=steps, progress=False)
    found = {"reconstruct": lambda i, score, x: m.reconstruct(x, seed=i),
             "griffin-lim": lambda i, score, x: plain_inverse(m, x),
             "noise": lambda i, score, x: noise(x, i),
             "scrambled": lambda i, score, x: scrambled(x, i),
             "sample via noise": lambda i, score, x: m.sample(seconds, seed=i, via="noise", **how)[0]}
    if m.best_way == "score": found |= composers(m, seconds, start, top, how)
    if "score" in m.condition: found["render"] = lambda i, score, x: m.render(score, seed=i, **how)
    found["style transfer"] = lambda i, score, x: m.style_transfer(x, strength=0.5, seed=i, **how)
    if seconds >= 9:
        found["hole repeated"] = lambda i, score, x: repeated(x, span[0])
        found["inpaint"] = lambda i, score, x: m.inpaint(x, spans=span, seed=i, **how)
    return found, span


def composers(m, seconds, start, top, how):
    "The kinds of sound whose score is composed, each played by FluidSynth and by the network."
    def written(i, name, chords):  # a piece is composed once and played twice
        path = top / "scores" / name / f"{i:03d}.mid"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            m.compose(2 * start + seconds, seed=i, chords=chords, progress=False).write(str(path))
        return excerpt(pretty_midi.PrettyMIDI(str(path)), start, seconds)
    nothing = lambda i: written(i, "composed", None)
    chords = lambda i: written(i, "chords", CHORDS[i % len(CHORDS)])
    return {
        "composed + FluidSynth": lambda i, score, x: fluidsynth(nothing(i), seconds),
        "composed + network": lambda i, score, x: m.render(nothing(i), seed=i, **how),
        "chords + FluidSynth": lambda i, score, x: fluidsynth(chords(i), seconds),
        "chords + network": lambda i, score, x: m.render(chords(i), seed=i, **how),
    }


def fit(x, n):
    "(2, n) of (2, m) or (1, 2, m)."
    x = x.reshape(-1, x.shape[-1])[:2, :n]
    return torch.nn.functional.pad(x, (0, n - x.shape[1]))


def average(rows):
    "A seam in silence has no pulse to keep: what is not finite does not count."
    values = {k: [r[k] for r in rows if math.isfinite(r[k])] for k in (rows[0] if rows else {})}
    return {k: interval_text(bootstrap(v)) for k, v in values.items() if v}


def table(title, columns):
    "Markdown of {column: {row: cell}}."
    rows = dict.fromkeys(k for c in columns.values() for k in c)
    print(f"\n**{title}**\n")
    head("", *columns)
    for r in rows: row(r, *(c.get(r, "") for c in columns.values()))


def chosen(songs, args):
    "The numbers of the songs that are measured."
    wanted = [n for n in numbers(args.songs) if n in songs]
    if len(wanted) < 3:
        raise InputError(f"--songs {args.songs}: fewer than 3 of them are in {songs.name}; "
                         "give a range such as 800-859")
    return wanted


def one_song(number, score, real, kinds, top, agreement):
    """Make and keep the sounds of all kinds for one song, and add to `agreement` how they play its score.

    Yields (kind, waveform)."""
    for kind, make in {"real": None, **kinds}.items():
        alone = kind.startswith(("sample", "composed", "chords"))  # it belongs to no song
        name = f"seed-{number:03d}" if alone else f"{number:03d}"
        new = lambda: fit(make(number, score, real), real.shape[1])
        try: y = real if make is None else keep(top / kind / f"{name}.flac", new)
        except InputError as error:  # a rest of so many seconds, for instance
            print(f"{kind} of seed {number} is left out: {error}")
            continue
        if kind in ("real", "reconstruct", "griffin-lim", "noise", "render"):
            try: agreement.setdefault(kind, []).append(score_agreement(y, score, real))
            except InputError as error: print(f"{kind} of song {number} is left out: {error}")
        yield kind, y


def all_songs(songs, wanted, kinds, span, top, args):
    "What each song's sounds are like: {kind: measures} of the real one, of agreement with scores, of seams."
    truth, agreement, seams = {"real": []}, {}, {}
    for number in wanted:
        try: score, x = real(songs, number, args.start, args.seconds)
        except InputError as error:
            print(f"song {number} is left out: {error}")
            continue
        x = keep(top / "real" / f"{number:03d}.flac", lambda: x)
        truth["real"].append(annotation_agreement(x, songs[number], args.start))
        for kind, y in one_song(number, score, x, kinds, top, agreement):
            if kind in ("real", "hole repeated", "inpaint") and args.seconds >= 9:
                seams.setdefault(kind, []).append(edit_continuity(y, span))
    return truth, agreement, seams


def print_aims(halves, reports):
    "What from nothing is to come near to real songs: two distances and two measures, a row for each kind."
    print("\n**In short: Fréchet distance from the real set (a star: told apart), and means**\n")
    head("", "harmony", "rhythm", "key clarity", "pulse clarity")
    def cells(found, music):
        far = [found[f]["frechet"] if found else None for f in ("harmony", "rhythm")]
        return (*("" if d is None else f"{d['value']:.3g}{'*' * d['apart']}" for d in far),
                *(interval_text(music[name]) for name in ("key_clarity", "pulse_clarity")))
    first = next(iter(reports.values()))
    row("real, odd against even", *cells(halves, first["music"]["b"]))
    for kind, r in reports.items(): row(kind, *cells(r["distribution"], r["music"]["a"]))
    row("aim for what is composed", "≤ 15", "≤ 5", "≥ 0.82", "≥ 0.50")


def print_distances(halves, reports):
    def cell(v):
        return interval_text([v["value"], v["low"], v["high"]]) + f", {v['floor']:.3g}{'*' * v['apart']}"
    distances = {"real, odd against even": halves, **{k: r["distribution"] for k, r in reports.items()}}
    columns = {k: {f"{f}, {d}": cell(v) for f, both in found.items() for d, v in both.items()}
               for k, found in distances.items()}
    table("Distance from the real set (value [95%], floor; a star: told apart)", columns)


def print_reports(reports, halves):
    "The tables that `evaluate_folders` gives, beside each other."
    spreads = lambda measures: {name: interval_text(v) for name, v in measures.items()}
    same = {k: r for k, r in reports.items()
            if r["reconstruction"] and k in ("reconstruct", "griffin-lim", "noise")}
    table("Reconstruction (0 is perfect)", {k: spreads(r["reconstruction"]) for k, r in same.items()})
    print_distances(halves, reports)
    first = next(iter(reports.values()))
    table("Music", {"real": spreads(first["music"]["b"]),
                    **{k: spreads(r["music"]["a"]) for k, r in reports.items()}})


def print_songs(truth, agreement, seams, span):
    "The tables of `all_songs`."
    means = lambda found: {kind: average(rows) for kind, rows in found.items()}
    table("Agreement with the score (1 is perfect)", means(agreement))
    table("The measures themselves: agreement of the real sound with the annotations (1 is perfect)",
          means(truth))
    at = f"{span[0][0]:.1f} and {span[0][1]:.1f} s"
    if seams: table(f"Seams at {at} (the smaller the smoother)", means(seams))


def folders(a, b, page, args):
    "`evaluate_folders`, its page and its cache under --out."
    out = Path(args.out)
    return evaluate_folders(a, b, out / f"page-{page}", args.jobs, cache=out / "cache", progress=False)


def main(args):
    songs = open_songs()
    wanted, m = chosen(songs, args), Msanii.from_pretrained(args.model)
    weights, steps = m.fingerprint(), args.steps or m.settings.steps
    depends = dict(weights=weights, songs=songs.name, seconds=args.seconds, start=args.start, steps=steps)
    top = Path(args.out) / key(__file__, **depends)
    kinds, span = makers(m, args.seconds, args.steps, args.start, top)
    if unknown := ", ".join(sorted(set(args.kinds or kinds) - set(kinds))):
        raise InputError(f"--kinds: there is no {unknown}; this model has {', '.join(kinds)}")
    kinds = {kind: make for kind, make in kinds.items() if kind in (args.kinds or kinds)}
    truth, agreement, seams = all_songs(songs, wanted, kinds, span, top, args)
    reports = {kind: folders(top / kind, top / "real", kind, args) for kind in kinds}
    halves = evaluate_halves(top, wanted, args)
    print(about(f"weights {weights[:12]}", songs.name, f"songs {wanted[0]} to {wanted[-1]} ({len(wanted)})",
                f"{args.seconds:g} s from {args.start:g} s each", f"{steps} steps of {m.settings.sampler}"),
          "Seeds are song numbers. Means over songs with 95% bootstrap intervals.", sep=". ")
    print_aims(halves, reports)
    print_reports(reports, halves)
    print_songs(truth, agreement, seams, span)
    left = [f"- {k}: {p}" for k, r in reports.items() for why in r["skipped"].values() for p in why.values()]
    if left: print("\nLeft out:", *left, sep="\n")


def evaluate_halves(top, wanted, args):
    "The distances between the real songs of odd and of even number: what no difference looks like."
    for number in wanted:
        for parity in ("odd", "even"):
            link = top / f"real-{parity}" / f"{number:03d}.flac"
            if number % 2 == (parity == "odd") and not link.exists() and (top / "real" / link.name).exists():
                save_audio(link, load_audio(top / "real" / link.name))
    if len(wanted) < 6: return {}
    return folders(top / "real-odd", top / "real-even", "real", args)["distribution"]


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--model", help="folder or Hugging Face Hub id; the weights in the package otherwise")
    parser.add_argument("--songs", default="800-859", help="first-last")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--start", type=float, default=30.0, help="s into each song")
    parser.add_argument("--steps", type=int, help="network passes; the model's own number otherwise")
    parser.add_argument("--kinds", nargs="*", help="'composed + FluidSynth', render and so on: these alone")
    parser.add_argument("--jobs", type=int, default=-1)
    parser.add_argument("--out", default="outputs/report")
    main(parser.parse_args())
