"""Makes the three clips of the README: python scripts/clips.py [--out nbs/clips]

A piece composed from nothing for a band, seed 0; a song that was never trained on, arranged for a band and
played by the network; and a minute of a song with six seconds cut out and filled through its score, of which
16 s are kept. Nothing is chosen: the seeds are 0, the song the first of those held out (POP909, or composed
songs without it)."""
import argparse
from pathlib import Path

import soundfile
import torch

from msanii import Msanii
from msanii.arranging import arrange
from msanii.pop909 import excerpt, open_songs
from msanii.score import render_score

SECONDS, RATE = 16, 44_100


def clips(m, songs):
    "{name: waveform}."
    number = songs.split("heldout")[0] if songs.split("heldout") else songs.numbers[0]
    part = lambda score, seconds=SECONDS: excerpt(score, 30, seconds)
    cut = lambda x: x[:, : SECONDS * RATE]
    piece = m.compose(seconds=SECONDS, seed=0, band=True, progress=False)
    yield "composed", cut(m.render(piece, seed=0, progress=False))
    yield "band", cut(m.render(part(arrange(songs[number], number)), seed=0, progress=False))
    played = render_score(part(songs[number].score, 60))
    mended = m.inpaint(played / played.abs().max().clamp(min=1), [(30, 36)], seed=0, progress=False)
    yield "mended", cut(mended[:, 25 * RATE :])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "nbs" / "clips")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for name, x in clips(Msanii.from_pretrained(device="cpu"), open_songs()):
        x = 0.7 * x / x.abs().max().clamp(min=1e-9)
        how = dict(format="MP3", bitrate_mode="CONSTANT", compression_level=0.8)  # 96 kbit a second
        soundfile.write(out / f"{name}.mp3", x.T.numpy(), RATE, **how)


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
