"""The download against a server on this machine, damaged collections, forked readers, the example."""
import functools, hashlib, http.server, io, multiprocessing, os, pickle, socket, threading, zipfile

import numpy as np
import pytest

from msanii.audio import InputError
from msanii.pop909 import Composed, MidiFolder, Pop909, download, example_song, open_songs, split

REAL = os.environ.get("POP909")
needs_pop909 = pytest.mark.skipif(not REAL, reason="the environment variable POP909 names no copy of POP909")
FORKS = "fork" in multiprocessing.get_all_start_methods()
needs_fork = pytest.mark.skipif(not FORKS, reason="this system cannot fork")


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


# The download

class Server:
    "Serves `body`. `ranges`: does it know Range? `cut`: how many bytes it sends at most before it hangs up."
    def __init__(self, body, ranges=True, cut=None, status=200):
        self.body, self.ranges, self.cut, self.status = body, ranges, cut, status
        self.asked, self.sent = [], 0
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
            there = f"{first}-{total - 1}" if first < total else "*"
            handler.send_header("Content-Range", f"bytes {there}/{total}")
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
    body = {"flipped byte": bytes(broken), "cut": ZIP[:-300], "text": b"<html>Not found</html>",
            "other partial file": ZIP}[damage]
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
    other = Composed(3, 4.0)[1].midi
    child = multiprocessing.get_context("fork").Process(target=lambda: os._exit(songs[1].midi != other))
    child.start()
    child.join(20)
    assert child.exitcode == 0
    assert place() == before  # the child read from another place of the file, with a handle of its own
    assert songs[3].midi == expected
    assert pickle.loads(pickle.dumps(songs))[3].midi == expected


def test_any_folder_of_midi_files(tmp_path):
    for i in (1, 2, 3):
        path = tmp_path / "midis" / "abc"[i - 1] / f"{i}.mid"
        path.parent.mkdir(parents=True)
        path.write_bytes(Composed(3, 4.0)[i].midi if i != 2 else b"")
    songs = open_songs(tmp_path / "midis")
    assert isinstance(songs, MidiFolder)
    assert songs.split("train") == [1, 2, 3] and songs.split("validation") == []
    assert songs[3].midi == Composed(3, 4.0)[3].midi
    with pytest.raises(InputError, match=r"b.2\.mid"):
        songs[2].score
    (tmp_path / "midis" / "a" / "0.mid").write_bytes(songs[1].midi)  # now all songs have other numbers
    assert open_songs(tmp_path / "midis").name != songs.name
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no MIDI files"):
        MidiFolder(tmp_path / "empty")


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


# The example

def test_example_song(monkeypatch, tmp_path):
    monkeypatch.delenv("POP909", raising=False)
    score, waveform = example_song(seconds=2.5, start=1.0)
    assert waveform.shape == (2, 110_250) and 0 < waveform.abs().max() < 1 and score.get_end_time() <= 2.5
    waveform.zero_()
    score.instruments.clear()
    again = example_song(seconds=2.5, start=1.0)
    assert again[1].abs().max() > 0 and len(again[0].instruments) == 4  # nobody spoils it for the next
    assert example_song(seconds=5, start=58)[1].shape == (2, 220_500)  # the song ends within it
    with pytest.raises(InputError, match="no notes"):
        example_song(start=1000)
    with pytest.raises(InputError, match="seconds"):
        example_song(seconds=0)
    monkeypatch.setenv("POP909", str(tmp_path / "missing"))
    with pytest.raises(InputError, match="missing"):
        example_song(seconds=2.5, start=1.0)
    with pytest.raises(InputError, match="missing"):
        open_songs()
