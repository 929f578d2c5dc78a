"""Files that a notebook cannot hold: damaged, odd and interrupted ones, and long ones."""
import io
import math
import os
import struct
import subprocess
import sys
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
import soundfile as sf
import torch

from msanii import audio
from msanii.audio import (InputError, audio_info, check_waveform, load_audio, player, plot_spectrogram,
                          plot_waveform, replacing, resample, save_audio, set_channels, stream_audio)

SUFFIXES = ("wav", "flac", "ogg", "mp3")


def tones(seconds=1.0, rate=44_100, channels=2):
    t = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    return torch.stack([0.4 * torch.sin(2 * math.pi * 220 * (c + 2) * t) for c in range(channels)]).float()


def snr(x, y):
    return 10 * torch.log10(x.square().mean() / (x - y).square().mean()).item()


# Files that cannot be used: how each is made, and a part of the sentence that must come back

def cut(folder, name, share):
    save_audio(folder / name, tones())
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[:int(len(data) * share)])


def floats(folder, name, samples):
    sf.write(folder / name, np.asarray(samples, dtype=np.float32), 44_100, subtype="FLOAT")


BAD_FILES = {
    "missing.wav": (lambda d, n: None, "no such file"),
    "folder.wav": (lambda d, n: (d / n).mkdir(), "is a folder"),
    "empty.wav": (lambda d, n: (d / n).touch(), "0 bytes"),
    "text.wav": (lambda d, n: (d / n).write_text("no sound\n" * 99), "cannot be read as sound"),
    "text.mp3": (lambda d, n: (d / n).write_text("no sound\n" * 9999), "cannot be read as sound"),
    "bytes.raw": (lambda d, n: (d / n).write_bytes(bytes(999)), "cannot be read as sound"),
    "header.wav": (lambda d, n: cut(d, n, 0.0002), "cannot be read as sound"),
    "head.flac": (lambda d, n: cut(d, n, 0.01), "cannot be read as sound"),
    "half.ogg": (lambda d, n: cut(d, n, 0.5), "cut off"),
    "zero_length.wav": (lambda d, n: floats(d, n, np.zeros((0, 2))), "holds no samples"),
    "nan.wav": (lambda d, n: floats(d, n, [[0, 0], [math.nan, 0]]), "NaN"),
    "infinite.wav": (lambda d, n: floats(d, n, [[0, 0], [math.inf, 0]]), "NaN or infinite"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file(tmp_path, name):
    make, expected = BAD_FILES[name]
    make(tmp_path, name)
    with pytest.raises(InputError) as error:
        load_audio(tmp_path / name)
    message = str(error.value)
    assert expected in message and name in message and "\n" not in message


@pytest.mark.parametrize("options, expected", [
    (dict(start=1.0), "beyond its end"), (dict(start=-1), "start is -1"), (dict(seconds=0), "seconds is 0"),
    (dict(seconds=-3), "seconds is -3"), (dict(start=math.nan), "start is nan"),
    (dict(seconds=math.inf), "seconds is inf"), (dict(channels=0), "channels is 0"),
    (dict(sample_rate=0), "whole rates"), (dict(sample_rate=44_100.5), "whole rates")])
def test_bad_options(tmp_path, options, expected):
    save_audio(tmp_path / "a.wav", tones())
    with pytest.raises(InputError, match=expected):
        load_audio(tmp_path / "a.wav", **options)


# Unusual files that work

@pytest.mark.parametrize("rate, channels, subtype", [
    (8_000, 1, "PCM_16"), (96_000, 2, "PCM_24"), (48_000, 6, "FLOAT"), (22_254, 6, "PCM_U8"),
    (44_100, 1, "DOUBLE"), (44_100, 6, "PCM_16"), (192_000, 1, "PCM_32")])
def test_any_rate_and_channels(tmp_path, rate, channels, subtype):
    sf.write(tmp_path / "a.wav", tones(1, rate, channels).T.numpy(), rate, subtype=subtype)
    assert audio_info(tmp_path / "a.wav") == (rate, channels, rate, 1.0)
    x = load_audio(tmp_path / "a.wav")
    expected = set_channels(tones(1, 44_100, channels), 2)
    assert x.shape == (2, 44_100) and x.dtype == torch.float32
    assert snr(expected[:, 4410:-4410], x[:, 4410:-4410]) > (25 if subtype == "PCM_U8" else 60)


def test_cut_off_wav_gives_what_it_holds(tmp_path):
    cut(tmp_path, "half.wav", 0.5)
    x = load_audio(tmp_path / "half.wav")
    assert abs(x.shape[1] - 22_050) < 50
    assert (x - tones()[:, :x.shape[1]]).abs().max() <= 2**-15


def test_cut_off_flac_gives_what_it_holds_with_a_word(tmp_path):
    cut(tmp_path, "half.flac", 0.5)
    with pytest.warns(UserWarning, match=r"half.flac is damaged or cut off: 0.4\d s of it are taken"):
        x = load_audio(tmp_path / "half.flac")
    assert 15_000 < x.shape[1] < 30_000 and (x - tones()[:, :x.shape[1]]).abs().max() <= 2**-15


CUT = {  # what a recorder or a download that broke off leaves; the seconds of sound that came before
    "mp3": lambda: encoded("MP3", LONG), "joined mp3": lambda: b"".join(encoded("MP3", x) for x in THREE),
    "joined flac": lambda: b"".join(encoded("FLAC", x) for x in THREE),
    "streamed flac": lambda: streamed_flac(LONG),
}


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("part", (0.5, 0.8))
def test_what_broke_off_gives_what_it_holds_with_a_word(tmp_path, name, part):
    data, path = CUT[name](), tmp_path / "half.sound"
    path.write_bytes(data[: int(part * len(data))])
    with pytest.warns(UserWarning) as said: x = load_audio(path)
    [word] = [str(w.message) for w in said]
    assert f"half.sound is damaged or cut off: {x.shape[1] / 44_100:.2f} s of it are taken" in word
    assert 0.8 * part * LONG.shape[1] < x.shape[1] < 1.2 * part * LONG.shape[1]
    assert audio_info(path).samples >= x.shape[1]


def test_the_rest_of_the_last_of_joined_files_takes_nothing_from_the_others(tmp_path):
    for kind in ("FLAC", "OGG"):
        path = tmp_path / f"a.{kind.lower()}"
        path.write_bytes(encoded(kind, THREE[0]) + encoded(kind, THREE[1])[:60])
        with pytest.warns(UserWarning, match="is damaged or cut off: 1.00 s of it"): x = load_audio(path)
        assert abs(x.shape[1] - 44_100) < 10 and audio_info(path).samples >= 44_000


# Files whose length no header tells, or tells wrong: all that is there must come back

def encoded(kind, x, subtype=None, rate=44_100, **how):
    file = io.BytesIO()
    sf.write(file, np.asarray(x).T, rate, format=kind, subtype=subtype, **how)
    return file.getvalue()


def without_table(data):
    "An MP3 without its first frame, a table of contents, as `lame -t` writes it."
    assert data[36:40] in (b"Xing", b"Info")
    return data[data.index(data[:2], 4):]


def streamed_flac(x):
    "A FLAC of which nobody knew the length when it was begun, as it comes out of a pipe."
    data = bytearray(encoded("FLAC", x))
    assert data[:4] == b"fLaC"
    data[21] &= 0xF0
    data[22:26] = bytes(4)  # 36 bits of the number of samples; 0 is unknown
    return bytes(data)


def sized_wav(x, size):
    data = encoded("WAV", x)
    place = data.index(b"data") + 4
    head = data[:4] + struct.pack("<I", size) + data[8:place]
    return head + struct.pack("<I", size) + data[place + 4:]


def streamed_rf64(x):
    data = encoded("RF64", x)
    assert data[:4] == b"RF64" and data[12:16] == b"ds64"
    return data[:20] + bytes(24) + data[44:]


def long_tag(size):
    "A tag behind the sound, longer than a reader looks for the next frame."
    return b"APETAGEX" + struct.pack("<III", 2000, size, 1) + bytes(12) + b"\x11" * size


def damaged(data):
    place = data.index(data[100:104] if data[100] == 0xFF else b"\xff\xfb", len(data) // 2)
    return data[:place] + b"\x22" * 5000 + data[place:]


def quiet_end():
    "Noise, then twice as long silence: with a rate that varies its first frames are the longest."
    noise = torch.rand(2, 88_200, generator=torch.Generator().manual_seed(0)) * 0.4 - 0.2
    return torch.cat([noise, torch.zeros(2, 176_400)], 1)


def varying(x): return encoded("MP3", x, bitrate_mode="VARIABLE", compression_level=0.3)


def tagged(data):
    picture = bytes([0xFF, 0xFB, 0x90, 0x64]) * 500  # which looks like frames
    return b"ID3\x04\0\0\0\0" + bytes([len(picture) >> 7, len(picture) & 127]) + picture + data


THREE = [tones(1.0) * level for level in (1, 0.5, 0.25)]
MONO = [x[:1] for x in THREE]
LONG = torch.cat(THREE, 1)
UNKNOWN = {  # the bytes of a file, what they sound like, by how many samples it may differ
    "mp3 of a varying rate without a table": (lambda: without_table(varying(quiet_end())), quiet_end(), 3000),
    "mp3 of a fixed rate without a table": (lambda: without_table(encoded("MP3", LONG)), LONG, 3000),
    "mp3 with tags and no table": (
        lambda: tagged(without_table(varying(quiet_end()))) + b"TAG" + bytes(125), quiet_end(), 3000),
    "mp3 at 22,050 Hz without a table": (
        lambda: without_table_of(22_050), resample(LONG, 44_100, 22_050), 3000),
    "joined mp3": (lambda: b"".join(encoded("MP3", x) for x in THREE), LONG, 0),
    "joined mp3 of a varying rate": (lambda: b"".join(varying(x) for x in THREE), LONG, 0),
    "joined mp3 with tags": (lambda: b"".join(tagged(encoded("MP3", x)) for x in THREE), LONG, 0),
    "joined mp3 with long tags behind them": (
        lambda: b"".join(encoded("MP3", x) + long_tag(5000) for x in THREE), LONG, 0),
    "joined mp3 without tables, with zeros between": (
        lambda: bytes(4000).join(without_table(encoded("MP3", x)) for x in THREE), LONG, 9000),
    "an mp3 with damage amid it": (lambda: damaged(encoded("MP3", LONG)), LONG, 9000),
    "an mp3 with zeros behind it": (lambda: encoded("MP3", LONG) + bytes(9000), LONG, 0),
    "joined mp3 without tables": (
        lambda: b"".join(without_table(encoded("MP3", x)) for x in THREE), LONG, 9000),
    "a table that names too few": (
        lambda: encoded("MP3", THREE[0]) + without_table(encoded("MP3", torch.cat(THREE[1:], 1))),
        LONG, 6000),
    "streamed flac": (lambda: streamed_flac(LONG), LONG, 0),
    "joined flac": (lambda: b"".join(encoded("FLAC", x) for x in THREE), LONG, 0),
    "joined streamed flac": (lambda: b"".join(map(streamed_flac, THREE)), LONG, 0),
    "joined flac with tags": (lambda: b"".join(tagged(encoded("FLAC", x)) for x in THREE), LONG, 0),
    "streamed flac with a tag": (lambda: tagged(streamed_flac(LONG)), LONG, 0),
    "joined ogg": (lambda: b"".join(encoded("OGG", x) for x in THREE), LONG, 0),
    "joined opus": (
        lambda: b"".join(encoded("OGG", resample(x, 44_100, 48_000), "OPUS", 48_000) for x in THREE),
        resample(LONG, 44_100, 48_000), 0),
    "joined wav": (lambda: b"".join(encoded("WAV", x) for x in THREE), LONG, 0),
    "streamed wav, length 0": (lambda: sized_wav(LONG, 0), LONG, 0),
    "streamed wav, the largest length": (lambda: sized_wav(LONG, 2**32 - 1), LONG, 0),
    "streamed wav, half of that": (lambda: sized_wav(LONG, 2**31 - 1), LONG, 0),
    "streamed wav of 64 bits, length 0": (lambda: streamed_rf64(LONG), LONG, 0),
}


def without_table_of(rate):
    data = encoded("MP3", resample(LONG, 44_100, rate), rate=rate)
    at = data.index(b"Info") if b"Info" in data[:60] else data.index(b"Xing")
    assert at < 60
    return data[data.index(data[:2], 4):]


@pytest.mark.parametrize("name", UNKNOWN)
def test_all_that_is_there(tmp_path, name):
    make, x, differs = UNKNOWN[name]
    path = tmp_path / "a.sound"
    path.write_bytes(make())
    info = audio_info(path)
    y = load_audio(path, sample_rate=info.sample_rate)
    assert info.samples == y.shape[1] and abs(y.shape[1] - x.shape[1]) <= differs
    loud = lambda z: z.abs().amax(0)[: z.shape[1] // 1000 * 1000].reshape(-1, 1000).amax(1)
    n = min(len(loud(x)), len(loud(y))) - 10
    if not differs: assert (loud(x)[:n] - loud(y)[:n]).abs().mean() < 0.02
    else: assert (loud(y)[-10:] - loud(x)[-10:]).abs().median() < 0.1
    middle = load_audio(path, sample_rate=info.sample_rate, start=2.5, seconds=0.25)
    first = round(2.5 * info.sample_rate)
    assert torch.allclose(middle, y[:, first : first + middle.shape[1]], atol=1e-6)
    with pytest.raises(InputError, match="beyond its end"): load_audio(path, start=999)


def test_joined_files_of_several_kinds(tmp_path):
    "Another rate, another number of channels: what follows is brought to what comes first."
    parts = encoded("MP3", THREE[0]), encoded("MP3", resample(MONO[1], 44_100, 22_050), rate=22_050)
    (tmp_path / "a.mp3").write_bytes(b"".join(parts))
    x = load_audio(tmp_path / "a.mp3")
    assert audio_info(tmp_path / "a.mp3") == (44_100, 2, 88_200, 2.0) and x.shape == (2, 88_200)
    assert 0.1 < x[:, 50_000:].abs().max() < 0.3


def test_usual_files_are_read_as_before(tmp_path):
    "Nothing is put together anew where the header tells the truth."
    for suffix in SUFFIXES:
        save_audio(tmp_path / f"a.{suffix}", tones())
        assert audio._parts(tmp_path / f"a.{suffix}") == [tmp_path / f"a.{suffix}"]


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(InputError, match="pipe.wav is a stream or a device and no file: save"):
        load_audio(tmp_path / "pipe.wav")


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    save_audio(tmp_path / "a.wav", tones())
    monkeypatch.setattr("os.access", lambda path, mode: False)
    for read in (audio_info, load_audio, lambda path: next(stream_audio(path, 1))):
        with pytest.raises(InputError, match="a.wav may not be read"): read(tmp_path / "a.wav")


def test_contents_decide_not_the_name(tmp_path):
    save_audio(tmp_path / "a.mp3", tones())
    (tmp_path / "a.mp3").rename(tmp_path / "a.wav")
    assert load_audio(str(tmp_path / "a.wav")).shape == (2, 44_100)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("n", (1, 1153))
@pytest.mark.parametrize("rate", (8_000, 44_100))
def test_few_samples(tmp_path, suffix, n, rate):
    path = tmp_path / f"a.{suffix}"
    save_audio(path, torch.full((1, n), 0.25), rate)
    assert audio_info(path)[:3] == (rate, 1, n)
    assert load_audio(path, sample_rate=rate, channels=1).shape == (1, n)
    assert load_audio(path).shape == (2, math.ceil(n * 44_100 / rate))


# Round trips. WAV and FLAC round to 16 bits; ogg and mp3 must keep length, alignment and most of the sound

@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("channels, rate", [(1, 44_100), (2, 44_100), (2, 22_050), (2, 48_000)])
def test_round_trip(tmp_path, suffix, channels, rate):
    x, path = tones(2, rate, channels), tmp_path / "new" / "folders" / f"a.{suffix}"
    save_audio(path, x, rate)
    y = load_audio(path, sample_rate=rate, channels=channels)
    assert y.shape == x.shape
    if suffix in ("wav", "flac"):
        assert (x - y).abs().max() <= 2**-16
        save_audio(path, y, rate)
        assert torch.equal(load_audio(path, sample_rate=rate, channels=channels), y)
    else:
        assert snr(x, y) > 25


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_clicks_stay_where_they_are(tmp_path, suffix):
    x = torch.zeros(1, 44_100)
    x[0, [5000, 20_000, 40_000]] = 0.9
    save_audio(tmp_path / f"a.{suffix}", x)
    y = load_audio(tmp_path / f"a.{suffix}", channels=1)[0]
    for i in (5000, 20_000, 40_000):
        assert y[i - 500:i + 500].abs().argmax() == 500


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("start, seconds", [(0, 0.5), (1.2345, 0.5), (2.9, 5), (0.1, 1e-6)])
def test_excerpt_is_a_slice(tmp_path, suffix, start, seconds):
    x = tones(3) * torch.linspace(0, 1, 3 * 44_100)
    save_audio(tmp_path / f"a.{suffix}", x)
    whole = load_audio(tmp_path / f"a.{suffix}")
    first = round(start * 44_100)
    part = load_audio(tmp_path / f"a.{suffix}", start=start, seconds=seconds)
    assert torch.equal(part, whole[:, first:first + max(1, round(seconds * 44_100))])


def test_long_ogg(tmp_path):
    x = tones(1).repeat(1, 240)
    save_audio(tmp_path / "long.ogg", x)
    assert audio_info(tmp_path / "long.ogg").samples == x.shape[1]
    assert snr(x[:, -44_100:], load_audio(tmp_path / "long.ogg", start=239)) > 20


# Writing

@pytest.mark.parametrize("error", (RuntimeError, KeyboardInterrupt, MemoryError))
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_interrupted_save_keeps_the_old_file(tmp_path, monkeypatch, suffix, error):
    path = tmp_path / f"a.{suffix}"
    save_audio(path, tones())
    old, write, calls = path.read_bytes(), sf.SoundFile.write, []

    def break_off(self, data):
        calls.append(len(data))
        if len(calls) > 2:
            raise error("power cut")
        return write(self, data)

    monkeypatch.setattr(sf.SoundFile, "write", break_off)
    with pytest.raises(error):
        save_audio(path, -tones(3))
    assert len(calls) == 3 and path.read_bytes() == old and list(tmp_path.iterdir()) == [path]


def test_disk_full(tmp_path, monkeypatch):
    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sf.SoundFile, "write", full)
    with pytest.raises(InputError, match="a.wav cannot be written: No space left"):
        save_audio(tmp_path / "a.wav", tones())
    assert list(tmp_path.iterdir()) == []


def test_killed_while_saving(tmp_path):
    path = tmp_path / "a.wav"
    save_audio(path, tones())
    old = path.read_bytes()
    code = ("import os, sys, torch, soundfile as sf; from msanii.audio import save_audio\n"
            "sf.SoundFile.write = lambda self, data: os.kill(os.getpid(), 9)\n"
            "save_audio(sys.argv[1], torch.zeros(2, 99))")
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == -9
    assert path.read_bytes() == old


def test_saved_files_have_the_usual_permissions(tmp_path):
    (tmp_path / "plain").touch()
    save_audio(tmp_path / "a.wav", tones())
    assert (tmp_path / "a.wav").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("name, shape, rate, expected", [
    ("a.m4a", (2, 99), 44_100, "ends in one of"), ("a", (2, 99), 44_100, "ends in one of"),
    (".wav", (2, 99), 44_100, "ends in one of"), ("a.mp3", (2, 99), 96_000, "cannot hold 96000 Hz"),
    ("a.mp3", (6, 99), 44_100, "at most 2 channels"), ("a.flac", (9, 99), 44_100, "at most 8 channels"),
    ("a.ogg", (2, 99), 384_000, "cannot hold 384000 Hz"),  # libsndfile itself crashes here
    ("a.wav", (2, 99), 0, "cannot hold 0 Hz"), ("a.wav", (2, 99), 44_100.5, "cannot hold 44100.5 Hz"),
    ("a.wav", (3, 2, 99), 44_100, "batch of 3"), ("a.wav", (2, 0), 44_100, "1 or more samples"),
    ("folder.wav", (2, 99), 44_100, "is a folder"), ("file/a.wav", (2, 99), 44_100, "cannot be written")])
def test_bad_save(tmp_path, name, shape, rate, expected):
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=expected):
        save_audio(tmp_path / name, torch.zeros(shape), rate)
    assert sorted(tmp_path.rglob("*")) == before


def test_upper_case_suffix_batch_of_one_and_gradients(tmp_path):
    save_audio(tmp_path / "A.WAV", tones()[None].double().requires_grad_(), 44_100.0)
    assert snr(tones(), load_audio(tmp_path / "A.WAV")) > 60


def test_clipping_warns_and_full_scale_does_not(tmp_path):
    with pytest.warns(UserWarning, match=r"a.wav: the peak is 3"):
        save_audio(tmp_path / "a.wav", torch.tensor([[0.0, 3.0, -3.0]]))
    assert load_audio(tmp_path / "a.wav", channels=1).tolist() == [[0.0, 1 - 2**-15, -1.0]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_audio(tmp_path / "a.wav", torch.tensor([[1.0, -1.0]]))


def test_replacing(tmp_path):
    with replacing(tmp_path / "new" / "a.json") as temporary:
        assert temporary.parent == tmp_path / "new" and temporary.suffix == ".json"
        temporary.write_text("1")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.json"]


# Waveforms

@pytest.mark.parametrize("bad, expected", [
    (torch.zeros(9), r"shape \(9,\)"), (torch.zeros(1, 1, 2, 9), "give"), ([[0.0]], "list"),
    (torch.zeros(9, 2, dtype=torch.int16), "int16"), (np.zeros((2, 9), np.int32), "int32"),
    (torch.zeros(2, 9, dtype=torch.complex64), "complex64"),
    (None, "NoneType"), ("a.wav", "str"), (torch.zeros(441, 2), "transpose"), (torch.zeros(2, 0), "samples"),
    (torch.zeros(0, 9), "channels"), (torch.tensor([[math.nan]]), "NaN"), (np.array([[np.inf]]), "infinite"),
    (torch.zeros(2, 4), "5 or more samples")])
def test_bad_waveform(bad, expected):
    with pytest.raises(InputError, match=expected) as error:
        check_waveform(bad, name="my song", min_samples=5 if "5" in expected else 1)
    assert "my song" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("x", [
    torch.ones(1, 1, dtype=torch.float64), torch.ones(2, 9, dtype=torch.bfloat16), torch.ones(3, 2, 9).half(),
    np.ones((2, 9)), np.ones((2, 9), ">f4"), np.ones((9, 2), np.float32).T[:, ::-1]])
def test_good_waveform(x):
    y = check_waveform(x)
    assert y.dtype == torch.float32 and tuple(y.shape) == x.shape and (y == 1).all()


def test_check_keeps_gradients():
    x = torch.ones(1, 9, requires_grad=True)
    check_waveform(x).sum().backward()
    assert (x.grad == 1).all()


@pytest.mark.parametrize("orig, new", [
    (44_100, 48_000), (48_000, 44_100), (44_100, 44_101), (8_000, 96_000), (3, 2)])
@pytest.mark.parametrize("n", (1, 2, 1000))
def test_resample_length(orig, new, n):
    assert resample(torch.ones(3, 2, n), orig, new).shape == (3, 2, math.ceil(n * new / orig))


def test_resample_there_and_back():
    x = tones(2)
    y = resample(resample(x, 44_100, 48_000), 48_000, 44_100)
    assert y.shape == x.shape and snr(x[:, 4410:-4410], y[:, 4410:-4410]) > 60
    assert torch.equal(resample(x, 44_100, 48_000), resample(x, 44_100, 48_000))


# Looking and listening

@pytest.mark.parametrize("shape", [(1,), (9,), (1, 1), (2, 30_000), (3, 2, 500), (6, 500)])
@pytest.mark.parametrize("rate", (8_000, 44_100, 96_000))
def test_player_and_plot(shape, rate):
    html = player(torch.ones(shape), rate, title="a < b", seconds=0.5).data
    assert "a &lt; b" in html and "data:audio/mpeg;base64," in html
    axes = plot_waveform(np.ones(shape, np.float32), rate)
    assert axes.get_xlabel() == "time (s)"
    plt.close("all")


def test_player_is_small_and_repeats():
    noise = torch.rand(2, 44_100 * 5, generator=torch.Generator().manual_seed(0)) - 0.5
    assert len(player(noise).data) < 150_000
    assert player(noise).data == player(noise).data


@pytest.mark.parametrize("spec", [
    torch.zeros(1, 1), torch.ones(2, 1, 128, 40), torch.ones(5, 9, dtype=torch.complex64), np.ones((128, 9))])
@pytest.mark.parametrize("db", (True, False))
def test_plot_spectrogram(spec, db):
    axes = plot_spectrogram(spec, db=db, hop=44_100)
    assert axes.images[0].get_extent()[1] == spec.shape[-1] - 0.5
    plt.close("all")


def test_nothing_to_plot():
    with pytest.raises(InputError, match="cannot be plotted"):
        plot_spectrogram(torch.zeros(9))
    with pytest.raises(InputError, match="cannot be plotted"):
        plot_waveform(torch.zeros(2, 0))
