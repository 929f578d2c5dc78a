"""The download against a server on this machine, damaged collections, interrupted renderings, windows in other processes."""
import functools, hashlib, http.server, io, json, multiprocessing, os, pickle, socket, subprocess, sys, threading, time, zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pretty_midi
import pytest
import torch

from msanii import pop909 as P
from msanii.audio import InputError
from msanii.pop909 import (Composed, Grid, MidiFolder, Pop909, Windows, corpus_about, corpus_split, download, example_song, open_songs,
                           render_corpus, split)
from msanii.score import render_score

REAL = os.environ.get("POP909")
needs_pop909 = pytest.mark.skipif(not REAL, reason="the environment variable POP909 names no copy of POP909")
needs_fork = pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")


# A small collection, as a folder and as zips in both layouts

def files_of(songs):
    "{path inside the collection: bytes}"
    files = {}
    for song in songs:
        lines = lambda rows: "".join("\t".join(map(str, row)) + "\n" for row in rows).encode()
        files[f"{song.number:03d}/{song.number:03d}.mid"] = song.midi
        files[f"{song.number:03d}/versions/{song.number:03d}-v1.mid"] = b"an earlier take"
        files[f"{song.number:03d}/beat_midi.txt"] = lines(song.beats)
        files[f"{song.number:03d}/chord_midi.txt"] = lines(song.chords)
        files[f"{song.number:03d}/key_audio.txt"] = lines(song.key)
    return files


def zipped(prefix=""):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in files_of(Composed(3, 4.0)).items():
            archive.writestr(prefix + name, data)
    return file.getvalue()


ZIP = zipped("POP909-Dataset-master/POP909/")


@pytest.fixture
def collection(tmp_path):
    for name, data in files_of(Composed(3, 4.0)).items():
        path = tmp_path / "POP909" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "POP909"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return render_corpus(Composed(3, 5.0), tmp_path_factory.mktemp("corpus"), n_jobs=1, progress=False)


# One other process, begun before the first test because importing takes it seconds

def _digest(folder):
    "What some windows of a corpus hold, and where they lie."
    windows, digest = Windows(folder, frames=64, length=50, seed=3), hashlib.sha256()
    for i in (0, 49, 7):
        item = windows[i]
        digest.update(item["waveform"].numpy().tobytes() + item["roll"].numpy().tobytes() + repr((item["song"], item["start_frame"])).encode())
    return digest.hexdigest()


def _other_process(corpus, folder, flag):
    "Print the digest of a corpus; then render another, and hang in the middle of the second song's waveform."
    print(_digest(corpus), flush=True)
    save, count = np.save, iter(range(100))

    def save_half(path, array):
        save(path, array)
        if next(count) == 3:  # after the first song's two files and the second song's table
            os.truncate(path, os.path.getsize(path) // 2)
            Path(flag).touch()
            time.sleep(60)
    P.np.save = save_half
    render_corpus(Composed(3, 5.0), folder, n_jobs=1, progress=False)


class Other(NamedTuple):
    process: subprocess.Popen
    folder: Path
    flag: Path


@pytest.fixture(scope="module", autouse=True)
def other(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("other")
    program = "import sys; sys.path.insert(0, sys.argv[1]); import test_pop909; test_pop909._other_process(*sys.argv[2:])"
    arguments = [str(Path(__file__).parent), str(corpus), str(folder / "corpus"), str(folder / "flag")]
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], text=True, stdout=subprocess.PIPE,
                               cwd=Path(__file__).parents[1], env={**os.environ, "PYTHONHASHSEED": "1"})
    yield Other(process, folder / "corpus", folder / "flag")
    process.kill()
    process.communicate()


# The download

class Server:
    "Serves `body`. `ranges`: does it know Range? `cut`: how many bytes it sends at most before it hangs up."
    def __init__(self, body, ranges=True, cut=None, status=200):
        self.body, self.ranges, self.cut, self.status, self.asked, self.sent = body, ranges, cut, status, [], 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *args): pass
            def do_GET(self): outer.answer(self)

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, kwargs=dict(poll_interval=0.01), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/pop909.zip"

    def answer(self, handler):
        asked = handler.headers.get("Range")
        self.asked.append(asked)
        first, total = 0, len(self.body)
        if self.status != 200:
            return handler.send_error(self.status)
        if asked and self.ranges:
            first = int(asked.removeprefix("bytes=").removesuffix("-"))
            handler.send_response(206 if first < total else 416)
            handler.send_header("Content-Range", f"bytes {first}-{total - 1}/{total}" if first < total else f"bytes */{total}")
        else:
            handler.send_response(200)
        rest = self.body[first:]
        handler.send_header("Content-Length", str(len(rest)))
        handler.end_headers()
        sent = rest[: self.cut]
        self.sent += len(sent)
        handler.wfile.write(sent)

    def __enter__(self): return self

    def __exit__(self, *args):
        self.http.shutdown()
        self.http.server_close()


get = functools.partial(download, progress=False)


@pytest.mark.parametrize("ranges", [True, False])
def test_download_whole_and_only_once(tmp_path, ranges):
    with Server(ZIP, ranges) as server:
        path = get(tmp_path / "new" / "folder", server.url, sha256=hashlib.sha256(ZIP).hexdigest())
        assert path.read_bytes() == ZIP and len(Pop909(path)) == 3
        assert [file.name for file in path.parent.iterdir()] == ["pop909.zip"]
        assert get(path.parent, server.url) == path and server.asked == [None]


@pytest.mark.parametrize("ranges", [True, False])
def test_partial_file_is_continued(tmp_path, ranges):
    half = len(ZIP) // 2
    (tmp_path / "pop909.zip.part").write_bytes(ZIP[:half])
    with Server(ZIP, ranges) as server:
        assert get(tmp_path, server.url).read_bytes() == ZIP
        assert server.asked == [f"bytes={half}-"]
        assert server.sent == (len(ZIP) - half if ranges else len(ZIP))


def test_connection_that_breaks_is_taken_up_again(tmp_path):
    with Server(ZIP, cut=len(ZIP) // 2 + 1) as server:
        assert get(tmp_path, server.url).read_bytes() == ZIP
        assert len(server.asked) == 2 and server.sent == len(ZIP)


def test_connection_that_keeps_breaking(tmp_path):
    with Server(ZIP, cut=1000) as server:
        with pytest.raises(InputError, match="call again"):
            get(tmp_path, server.url, attempts=2)
        assert not (tmp_path / "pop909.zip").exists()
        assert (tmp_path / "pop909.zip.part").read_bytes() == ZIP[:2000]
        server.cut = None
        assert get(tmp_path, server.url).read_bytes() == ZIP
        assert server.asked[-1] == "bytes=2000-"


def test_partial_file_that_is_whole_or_too_long(tmp_path):
    part = tmp_path / "pop909.zip.part"
    with Server(ZIP) as server:
        part.write_bytes(ZIP)
        assert get(tmp_path, server.url).read_bytes() == ZIP and server.sent == 0
        (tmp_path / "pop909.zip").unlink()
        part.write_bytes(ZIP + b"more")
        assert get(tmp_path, server.url).read_bytes() == ZIP


def test_wrong_checksum(tmp_path):
    with Server(ZIP) as server:
        with pytest.raises(InputError, match="SHA-256"):
            get(tmp_path, server.url, sha256="0" * 64)
        assert list(tmp_path.iterdir()) == []  # what came is not left to be taken for good, nor continued
        path = get(tmp_path, server.url)
        with pytest.raises(InputError, match="SHA-256"):
            get(tmp_path, server.url, sha256="0" * 64)
        assert path.exists()  # a file from before is never removed


@pytest.mark.parametrize("damage", ["flipped byte", "cut", "text", "other partial file"])
def test_damaged_zip(tmp_path, damage):
    broken, at = bytearray(ZIP), ZIP.index(b"MThd") + 40
    broken[at] ^= 255
    body = {"flipped byte": bytes(broken), "cut": ZIP[:-300], "text": b"<html>Not found</html>", "other partial file": ZIP}[damage]
    if damage == "other partial file":
        (tmp_path / "pop909.zip.part").write_bytes(bytes(1000))
    with Server(body) as server:
        with pytest.raises(InputError, match="damaged"):
            get(tmp_path, server.url)
        assert list(tmp_path.iterdir()) == []


def test_server_that_is_not_there(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}/pop909.zip", "pop909.zip"):
        with pytest.raises(InputError, match="could not be downloaded"):
            get(tmp_path, url)
    with Server(ZIP, status=404) as server, pytest.raises(InputError, match="404"):
        get(tmp_path, server.url)


# Collections

def test_folder_and_both_zip_layouts_hold_the_same(tmp_path, collection):
    (tmp_path / "a.zip").write_bytes(zipped("POP909/"))
    (tmp_path / "b.zip").write_bytes(ZIP)
    expected = Composed(3, 4.0)
    for path in (collection, collection.parent, tmp_path / "a.zip", str(tmp_path / "b.zip")):
        songs = Pop909(path)
        assert songs.songs == songs.split("train") == [1, 2, 3] and songs.split("heldout") == []
        for song, other in zip(songs, expected):
            assert song.midi == other.midi and song.chords == other.chords and song.key == other.key
            np.testing.assert_allclose(song.beats, other.beats)


def test_places_without_songs(tmp_path):
    (tmp_path / "text.zip").write_text("no zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing here")
    (tmp_path / "empty").mkdir()
    for name in ("text.zip", "other.zip", "empty", "missing"):
        with pytest.raises(InputError, match=name):
            Pop909(tmp_path / name)
    with pytest.raises(InputError, match="splits"):
        split("splits")


def test_missing_and_damaged_annotations(collection):
    (collection / "001" / "chord_midi.txt").unlink()
    (collection / "002" / "beat_midi.txt").write_text("one two three\n")
    songs = Pop909(collection)
    assert songs[1].chords == [] and len(songs[1].beats) > 0
    with pytest.raises(InputError, match="002"):
        songs[2]
    with pytest.raises(InputError, match="no song 4"):
        songs[4]


def test_song_damaged_inside_the_zip(tmp_path):
    data, at = bytearray(ZIP), ZIP.index(b"MThd") + 40  # of song 1
    data[at] ^= 255
    (tmp_path / "p.zip").write_bytes(data)
    songs = Pop909(tmp_path / "p.zip")
    with pytest.raises(InputError, match="001"):
        songs[1]
    assert len(songs[2].score.instruments) == 4


@needs_fork
def test_forked_process_does_not_share_the_open_zip(tmp_path):
    (tmp_path / "p.zip").write_bytes(ZIP)
    songs = Pop909(tmp_path / "p.zip")
    expected = songs[3].midi
    place = lambda: os.lseek(songs._archive().fp.fileno(), 0, os.SEEK_CUR)
    before = place()
    child = multiprocessing.get_context("fork").Process(target=lambda: os._exit(songs[1].midi != Composed(3, 4.0)[1].midi))
    child.start()
    child.join(20)
    assert child.exitcode == 0
    assert place() == before  # the child read from another place of the file, with a handle of its own
    assert songs[3].midi == expected
    assert pickle.loads(pickle.dumps(songs))[3].midi == expected


@needs_pop909
def test_real_pop909():
    songs = Pop909(REAL)
    assert len(songs) >= 100 and songs.songs[0] == 1
    song = songs[1]
    assert song.key[0].label == "Gb:maj" and song.chords[4].label == "B:maj" and song.beats.shape[1] == 3
    assert [i.name for i in song.score.instruments] == ["MELODY", "BRIDGE", "PIANO"]


@needs_pop909
def test_real_pop909_does_not_clip(monkeypatch):
    monkeypatch.setenv("POP909", REAL)
    for number in (1, 168, 285):  # the last two are among the loudest
        waveform = example_song(seconds=10, start=60, number=number)[1]
        assert 0.05 < waveform.abs().max() < 1


# Rendering

def test_damaged_song_is_named_and_skipped(tmp_path, collection):
    midi = collection / "002" / "002.mid"
    midi.write_bytes(midi.read_bytes()[:200])
    with pytest.warns(UserWarning, match="002"):
        folder = render_corpus(Pop909(collection), tmp_path / "corpus", n_jobs=1, progress=False)
    info = json.loads((folder / "corpus.json").read_text())
    assert list(info["songs"]) == ["001", "003"] and "002" in info["damaged"]
    assert not (folder / "002.npy").exists() and len(Grid(folder, frames=32, numbers=[1])) > 0
    with pytest.raises(InputError, match="asked for"):
        Windows(folder, numbers=[2])


def test_killed_rendering_leaves_no_half_file_and_is_resumed(corpus, other):
    process, folder, flag = other
    while not flag.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert (folder / "001.npy").exists() and not (folder / "002.npy").exists()
    assert any(file.name.startswith(".") for file in folder.iterdir())  # the half file, under its temporary name
    assert Windows(folder, frames=16).numbers == [1]                    # what is there can be used
    first = (folder / "001.npy").stat().st_mtime_ns
    render_corpus(Composed(3, 5.0), folder, n_jobs=1, progress=False)
    assert (folder / "001.npy").stat().st_mtime_ns == first
    assert sorted(f.name for f in folder.iterdir()) == sorted(f.name for f in corpus.iterdir())
    for file in corpus.iterdir():
        assert (folder / file.name).read_bytes() == file.read_bytes()


def test_any_folder_of_midi_files(tmp_path):
    for i in (1, 2, 3):
        path = tmp_path / "midis" / "abc"[i - 1] / f"{i}.mid"
        path.parent.mkdir(parents=True)
        path.write_bytes(Composed(3, 4.0)[i].midi if i != 2 else b"")
    songs = open_songs(tmp_path / "midis")
    assert isinstance(songs, MidiFolder) and songs.split("train") == [1, 2, 3] and songs.split("validation") == []
    with pytest.warns(UserWarning, match=r"b.2\.mid"):
        folder = render_corpus(songs, tmp_path / "corpus", n_jobs=1, progress=False)
    assert corpus_split(folder, "train") == [1, 3] and corpus_about(folder)["songs"] == 2
    (tmp_path / "midis" / "a" / "0.mid").write_bytes(Composed(3, 4.0)[1].midi)  # now all songs have other numbers
    with pytest.raises(InputError, match="another corpus"):
        render_corpus(open_songs(tmp_path / "midis"), folder, n_jobs=1, progress=False)
    with pytest.raises(InputError, match="no MIDI files"):
        MidiFolder(tmp_path / "corpus")


def test_other_programs(tmp_path, corpus):
    folder = render_corpus(Composed(3, 5.0), tmp_path / "a", programs=True, n_jobs=1, progress=False)
    assert not np.array_equal(np.load(folder / "001.npy"), np.load(corpus / "001.npy"))
    assert np.array_equal(np.load(folder / "001.notes.npy"), np.load(corpus / "001.notes.npy"))  # composed songs have no pedal
    with pytest.raises(InputError, match="another corpus"):
        render_corpus(Composed(3, 5.0), folder, n_jobs=1, progress=False)


def test_rests(tmp_path):
    """In a rest no key is down, a pedal that was down comes up and goes down again after it, and the sound dies away."""
    score = Composed(3, 20.0)[1].score
    score.instruments[0].control_changes = [pretty_midi.ControlChange(64, 100, 1.0)]
    rested = P.with_rests(score, 5)
    pedal = [(c.time, c.value) for c in rested.instruments[0].control_changes]
    assert pedal[0] == (1.0, 100) and len(pedal) > 2 and [value for _, value in pedal[1:]] == [0, 100] * (len(pedal) // 2)
    waveform, rests = render_score(rested), [(pedal[i][0], pedal[i + 1][0]) for i in range(1, len(pedal), 2)]
    level = lambda a, b: waveform[:, round(a * 44_100) : round(b * 44_100)].square().mean().sqrt()
    for a, b in rests:
        assert not any(n.start < b and n.end > a for i in rested.instruments for n in i.notes)
        if b - a > 1 and b < rested.get_end_time(): assert level((a + b) / 2, b) < level(a - 0.5, a) / 5
    assert max(b - a for a, b in rests) > 1  # the sound of one at least was looked at
    folder = render_corpus(Composed(3, 20.0), tmp_path / "a", numbers=[1], rests=True, n_jobs=1, progress=False)
    assert corpus_about(folder)["rests"] is True
    with pytest.raises(InputError, match="another corpus"):
        render_corpus(Composed(3, 20.0), folder, numbers=[1], n_jobs=1, progress=False)


def test_damaged_corpus(tmp_path):
    folder = render_corpus(Composed(3, 5.0), tmp_path / "a", numbers=[1], n_jobs=1, progress=False)
    whole = (folder / "001.npy").read_bytes()
    for damaged in (b"no array", whole[:100], b""):
        (folder / "001.npy").write_bytes(damaged)
        with pytest.raises(InputError, match="001.npy is missing or damaged"): Windows(folder, 32)[0]
    (folder / "001.npy").write_bytes(whole)
    (folder / "001.notes.npy").unlink()
    with pytest.raises(InputError, match="001.notes.npy is missing or damaged"): Windows(folder, 32)[0]


def test_full_disk_while_rendering(tmp_path, corpus):
    """A limit on the size of files stands in for a full disk: writing fails in the same place, with an OSError."""
    program = ("import resource, sys; from msanii.pop909 import *; from msanii.audio import InputError\n"
               "resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))\n"
               "try: render_corpus(Composed(2, 5.0), sys.argv[1], n_jobs=1, progress=False)\n"
               "except InputError as error: print(error)")
    out = subprocess.run([sys.executable, "-c", program, str(tmp_path / "c")], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert "make room on the disk" in out.stdout and "0 whole songs" in out.stdout, out
    assert [f.name for f in (tmp_path / "c").glob("*") if f.name not in ("corpus.json", "001.notes.npy")] == []
    render_corpus(Composed(3, 5.0), tmp_path / "d", numbers=[1], n_jobs=1, progress=False)
    assert (tmp_path / "d" / "001.npy").read_bytes() == (corpus / "001.npy").read_bytes()


def test_rendering_on_a_dask_cluster(tmp_path, corpus):
    distributed = pytest.importorskip("distributed", reason="distributed, an optional extra, is not installed")
    joblib = pytest.importorskip("joblib")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, distributed.Client(cluster):
        with joblib.parallel_config("dask"):
            folder = render_corpus(Composed(3, 5.0), tmp_path / "corpus", progress=False)
    for file in corpus.iterdir():
        assert (folder / file.name).read_bytes() == file.read_bytes()


def test_corpus_of_another_collection(corpus, tmp_path):
    with pytest.raises(InputError, match="another corpus"):
        render_corpus(Composed(3, 6.0), corpus, n_jobs=1, progress=False)
    with pytest.raises(InputError, match="None of the song numbers"):
        render_corpus(Composed(3, 6.0), tmp_path, numbers=[7], n_jobs=1, progress=False)
    for damage in (None, "{ not json"):
        if damage:
            (tmp_path / "corpus.json").write_text(damage)
        with pytest.raises(InputError, match="render_corpus"):
            Windows(tmp_path)


def test_loud_song_is_turned_down(tmp_path, monkeypatch):
    loud = lambda score, **kwargs: 3 * torch.ones(2, 4410)
    monkeypatch.setattr(P, "render_score", loud)
    render_corpus(Composed(1, 4.0), tmp_path, n_jobs=1, progress=False)
    assert (np.load(tmp_path / "001.npy") == 32_767).all()


# Windows

def test_window_is_the_same_in_another_process(corpus, other):
    lines = iter(other.process.stdout.readline, "")
    assert next(line.strip() for line in lines if "was found at" not in line) == _digest(corpus)  # pyfluidsynth prints a line where CI is set


def test_windows_lie_on_the_grid(corpus):
    windows = Windows(corpus, frames=33, length=200, seed=1)
    stored = {number: np.load(corpus / f"{number:03d}.npy") for number in (1, 2, 3)}
    seen = set()
    for i in range(200):
        item = windows[i]
        start = item["start_frame"] * 1024
        cut = stored[item["song"]][:, start : start + 32 * 1024]
        assert cut.shape[1] == 32 * 1024  # no window runs over the end
        np.testing.assert_allclose(item["waveform"].numpy(), cut / 32_767, atol=1e-7)
        seen.add((item["song"], item["start_frame"]))
    assert len(seen) > 150 and {song for song, _ in seen} == {1, 2, 3}
    assert torch.equal(windows[-1]["roll"], windows[199]["roll"])
    for wrong in (200, -201):
        with pytest.raises(IndexError):
            windows[wrong]


def test_every_start_can_be_drawn_and_none_beyond(corpus):
    windows = Windows(corpus, frames=250, numbers=[2], length=400)
    samples = np.load(corpus / "002.npy").shape[1]
    last = (samples - 249 * 1024) // 1024
    assert {windows.place(i)[1] for i in range(400)} == set(range(last + 1))


def test_song_shorter_than_a_window(corpus):
    for item in (Windows(corpus, frames=400)[0], Grid(corpus, frames=400)[2]):
        samples = np.load(corpus / "001.npy").shape[1]
        assert item["waveform"].shape == (2, 399 * 1024) and item["roll"].shape == (1, 528, 400) and item["start_frame"] == 0
        assert item["waveform"][:, :samples].abs().max() > 0 and (item["waveform"][:, samples:] == 0).all()


@pytest.mark.parametrize("wrong", [dict(frames=1), dict(length=0)])
def test_windows_refuse(corpus, wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Windows(corpus, **wrong)


# The example

def test_example_song(monkeypatch, tmp_path):
    monkeypatch.delenv("POP909", raising=False)
    score, waveform = example_song(seconds=2.5, start=1.0)
    assert waveform.shape == (2, 110_250) and 0 < waveform.abs().max() < 1 and score.get_end_time() <= 2.5
    waveform.zero_()
    score.instruments.clear()
    again = example_song(seconds=2.5, start=1.0)
    assert again[1].abs().max() > 0 and len(again[0].instruments) == 4  # nobody spoils it for the next
    assert example_song(seconds=5, start=58)[1].shape == (2, 220_500)   # the song ends within it: silence follows
    with pytest.raises(InputError, match="no notes"):
        example_song(start=1000)
    with pytest.raises(InputError, match="seconds"):
        example_song(seconds=0)
    monkeypatch.setenv("POP909", str(tmp_path / "missing"))
    with pytest.raises(InputError, match="missing"):
        example_song(seconds=2.5, start=1.0)
    with pytest.raises(InputError, match="missing"):
        open_songs()
