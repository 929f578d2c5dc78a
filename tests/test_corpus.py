"""Damaged songs, interrupted renderings, clusters, other collections, windows in other processes."""
import hashlib, json, os, signal, subprocess, sys, time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pretty_midi
import psutil
import pytest
import torch

from msanii import corpus as C
from msanii.audio import InputError
from msanii.corpus import Grid, Windows, corpus_about, corpus_split, render_corpus
from msanii.pop909 import SPLITS, Composed, Pop909, open_songs
from msanii.score import render_score

REAL = os.environ.get("POP909")
needs_pop909 = pytest.mark.skipif(not REAL, reason="the environment variable POP909 names no copy of POP909")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return render_corpus(Composed(3, 5.0), tmp_path_factory.mktemp("corpus"), n_jobs=1, progress=False)


# One other process, begun before the first test because importing takes it seconds

def _digest(folder):
    "What some windows of a corpus hold, and where they lie."
    windows, digest = Windows(folder, frames=64, length=50, seed=3), hashlib.sha256()
    for i in (0, 49, 7):
        item = windows[i]
        digest.update(item["waveform"].numpy().tobytes() + item["roll"].numpy().tobytes())
        digest.update(repr((item["song"], item["start_frame"])).encode())
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
    C.np.save = save_half
    render_corpus(Composed(3, 5.0), folder, n_jobs=1, progress=False)


class Other(NamedTuple):
    process: subprocess.Popen
    folder: Path
    flag: Path


@pytest.fixture(scope="module", autouse=True)
def other(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("other")
    program = ("import sys; sys.path.insert(0, sys.argv[1])\n"
               "import test_corpus; test_corpus._other_process(*sys.argv[2:])")
    arguments = [str(Path(__file__).parent), str(corpus), str(folder / "corpus"), str(folder / "flag")]
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], text=True, stdout=subprocess.PIPE,
                               cwd=Path(__file__).parents[1], env={**os.environ, "PYTHONHASHSEED": "1"})
    yield Other(process, folder / "corpus", folder / "flag")
    process.kill()
    process.communicate()


# Rendering

def test_damaged_song_is_named_and_skipped(tmp_path):
    for song in Composed(3, 4.0):
        path = tmp_path / "POP909" / f"{song.number:03d}" / f"{song.number:03d}.mid"
        path.parent.mkdir(parents=True)
        path.write_bytes(song.midi[:200] if song.number == 2 else song.midi)
    with pytest.warns(UserWarning, match="002"):
        folder = render_corpus(Pop909(tmp_path / "POP909"), tmp_path / "corpus", n_jobs=1, progress=False)
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
    assert any(file.name.startswith(".") for file in folder.iterdir())  # the half file, by another name
    assert Windows(folder, frames=16).numbers == [1]  # what is there can be used
    first = (folder / "001.npy").stat().st_mtime_ns
    render_corpus(Composed(3, 5.0), folder, n_jobs=1, progress=False)
    assert (folder / "001.npy").stat().st_mtime_ns == first
    assert sorted(f.name for f in folder.iterdir()) == sorted(f.name for f in corpus.iterdir())
    for file in corpus.iterdir():
        assert (folder / file.name).read_bytes() == file.read_bytes()


SIDE_BY_SIDE = """
import sys, time
from pathlib import Path
from msanii.corpus import render_corpus
from msanii.pop909 import Composed
folder, first, last = Path(sys.argv[1]), *map(int, sys.argv[2:])
(folder.parent / sys.argv[2]).touch()
while len(list(folder.parent.glob("[0-9]*"))) < 2: time.sleep(0.01)  # both begin at once
render_corpus(Composed(40, 1.5), folder, range(first, last), n_jobs=1, progress=False)
"""


def test_two_calls_at_once_lose_nothing(tmp_path):
    "Each notes its songs, and removes no file that the other is writing."
    how = dict(cwd=Path(__file__).parents[1], stderr=subprocess.PIPE, text=True)
    start = [sys.executable, "-c", SIDE_BY_SIDE, str(tmp_path / "c")]
    calls = [subprocess.Popen([*start, *map(str, ends)], **how) for ends in ((1, 15), (11, 25))]
    for call in calls: assert call.wait(300) == 0, call.stderr.read()
    info = json.loads((tmp_path / "c" / "corpus.json").read_text())
    assert list(info["songs"]) == [f"{n:03d}" for n in range(1, 25)] and not info["damaged"]
    assert all((tmp_path / "c" / f"{n}.npy").is_file() for n in info["songs"])
    assert not list((tmp_path / "c").glob(".*")), "nothing is left behind"


def test_another_corpus_is_not_mixed_in_by_a_call_at_the_same_time(tmp_path, monkeypatch):
    "Both found the folder empty; the second to write says so."
    opened = C._open_corpus
    def late(songs, folder, settings):
        info = opened(songs, folder, settings)
        monkeypatch.setattr(C, "_open_corpus", opened)
        render_corpus(Composed(3, 1.5, seed=1), folder, [1], n_jobs=1, progress=False)
        return info
    monkeypatch.setattr(C, "_open_corpus", late)
    with pytest.raises(InputError, match="has become another corpus"):
        render_corpus(Composed(3, 1.5), tmp_path / "c", [1], n_jobs=1, progress=False)


def test_a_song_that_was_damaged_and_is_no_more(tmp_path):
    damaged = {"songs": {}, "damaged": {"001": "001.mid is empty"}}
    C._write_corpus(tmp_path, damaged), C._write_corpus(tmp_path, {"songs": {"001": 5}, "damaged": {}})
    assert json.loads((tmp_path / "corpus.json").read_text()) == {"songs": {"001": 5}, "damaged": {}}


def workers_of(pid):
    "The processes that a process has started, as long as it lives."
    return [process.pid for process in psutil.Process(pid).children(recursive=True)]


@pytest.mark.parametrize("how", (signal.SIGTERM, signal.SIGKILL), ids=("SIGTERM", "SIGKILL"))
def test_the_workers_end_with_what_started_them(tmp_path, how):
    words = "corpus --data composed --songs 1-400 --jobs 2 --out".split()
    call = subprocess.Popen([sys.executable, "-m", "msanii.app", *words, str(tmp_path / "c")],
                            cwd=Path(__file__).parents[1], stderr=subprocess.PIPE, text=True)
    about = tmp_path / "c" / "corpus.json"
    while not (about.exists() and json.loads(about.read_text())["songs"]):
        assert call.poll() is None
        time.sleep(0.1)
    workers = workers_of(call.pid)
    assert len(workers) >= 2
    call.send_signal(how)
    code, deadline = call.wait(30), time.monotonic() + 20
    assert code == (143 if how == signal.SIGTERM else -9)
    alive = lambda pid: psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    while any(map(alive, workers)) and time.monotonic() < deadline: time.sleep(0.2)
    assert not any(map(alive, workers))
    if how == signal.SIGTERM:
        assert "msanii corpus: terminated" in call.stderr.read()
    assert len(json.loads(about.read_text())["songs"]) >= 1


def test_any_folder_of_midi_files(tmp_path):
    for i in (1, 2, 3):
        path = tmp_path / "midis" / "abc"[i - 1] / f"{i}.mid"
        path.parent.mkdir(parents=True)
        path.write_bytes(Composed(3, 4.0)[i].midi if i != 2 else b"")
    songs = open_songs(tmp_path / "midis")
    with pytest.warns(UserWarning, match=r"b.2\.mid"):
        folder = render_corpus(songs, tmp_path / "corpus", n_jobs=1, progress=False)
    assert corpus_split(folder, "train") == [1, 3] and corpus_about(folder)["songs"] == 2
    (tmp_path / "midis" / "a" / "0.mid").write_bytes(songs[1].midi)  # now all songs have other numbers
    with pytest.raises(InputError, match="another corpus"):
        render_corpus(open_songs(tmp_path / "midis"), folder, n_jobs=1, progress=False)


@needs_pop909
def test_real_songs_become_a_corpus(tmp_path):
    songs, how = Pop909(REAL), dict(n_jobs=1, progress=False)
    folder = render_corpus(songs, tmp_path / "corpus", numbers=[1, 2, 780, 800], seconds=6, rests=True, **how)
    assert [corpus_split(folder, part) for part in SPLITS] == [[1, 2], [780], [800]]
    about = corpus_about(folder)
    assert about["source"] == "POP909" and about["seconds"] == 6 and about["rests"] is True
    for item in Grid(folder, frames=128, numbers=[1, 2]):
        assert item["waveform"].abs().max() > 0.01 and item["roll"].any()
    with pytest.raises(InputError, match="another corpus"):
        render_corpus(Composed(3, 6.0), folder, **how)


def test_other_programs(tmp_path, corpus):
    folder = render_corpus(Composed(3, 5.0), tmp_path / "a", programs=True, n_jobs=1, progress=False)
    assert not np.array_equal(np.load(folder / "001.npy"), np.load(corpus / "001.npy"))
    tables = [np.load(f / "001.notes.npy")[:, :3] for f in (folder, corpus)]
    assert np.array_equal(*tables)  # composed songs have no pedal
    with pytest.raises(InputError, match="another corpus"):
        render_corpus(Composed(3, 5.0), folder, n_jobs=1, progress=False)


def test_rests(tmp_path):
    "In a rest no key is down and the sound dies away; a pedal that was down comes up, and down after it."
    score = Composed(3, 20.0)[1].score
    score.instruments[0].control_changes = [pretty_midi.ControlChange(64, 100, 1.0)]
    rested = C.with_rests(score, 5)
    pedal = [(c.time, c.value) for c in rested.instruments[0].control_changes]
    assert pedal[0] == (1.0, 100) and len(pedal) > 2
    assert [value for _, value in pedal[1:]] == [0, 100] * (len(pedal) // 2)
    waveform, rests = render_score(rested), [(pedal[i][0], pedal[i + 1][0]) for i in range(1, len(pedal), 2)]
    level = lambda a, b: waveform[:, round(a * 44_100) : round(b * 44_100)].square().mean().sqrt()
    for a, b in rests:
        assert not any(n.start < b and n.end > a for i in rested.instruments for n in i.notes)
        if b - a > 1 and b < rested.get_end_time(): assert level((a + b) / 2, b) < level(a - 0.5, a) / 5
    assert max(b - a for a, b in rests) > 1  # the sound of one at least was looked at
    how = dict(numbers=[1], n_jobs=1, progress=False)
    folder = render_corpus(Composed(3, 20.0), tmp_path / "a", rests=True, **how)
    assert corpus_about(folder)["rests"] is True
    with pytest.raises(InputError, match="another corpus"):
        render_corpus(Composed(3, 20.0), folder, **how)


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
    """A limit on the size of files stands in for a full disk: writing fails in the same place."""
    program = ("import resource, sys; from msanii.audio import InputError\n"
               "from msanii.corpus import render_corpus; from msanii.pop909 import Composed\n"
               "resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))\n"
               "try: render_corpus(Composed(2, 5.0), sys.argv[1], n_jobs=1, progress=False)\n"
               "except InputError as error: print(error)")
    out = subprocess.run([sys.executable, "-c", program, str(tmp_path / "c")], capture_output=True, text=True,
                         cwd=Path(__file__).parents[1])
    assert "make room on the disk" in out.stdout and "0 whole songs" in out.stdout, out
    assert {f.name for f in (tmp_path / "c").glob("*")} <= {"corpus.json", "001.notes.npy"}
    render_corpus(Composed(3, 5.0), tmp_path / "d", numbers=[1], n_jobs=1, progress=False)
    assert (tmp_path / "d" / "001.npy").read_bytes() == (corpus / "001.npy").read_bytes()


def test_rendering_on_a_dask_cluster(tmp_path, corpus):
    distributed = pytest.importorskip("distributed", reason="distributed, an optional extra, is missing")
    joblib = pytest.importorskip("joblib")
    how = dict(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with distributed.LocalCluster(**how) as cluster, distributed.Client(cluster):
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
    monkeypatch.setattr(C, "render_score", loud)
    render_corpus(Composed(1, 4.0), tmp_path, n_jobs=1, progress=False)
    assert (np.load(tmp_path / "001.npy") == 32_767).all()


# Windows

def test_window_is_the_same_in_another_process(corpus, other):
    lines = iter(other.process.stdout.readline, "")  # pyfluidsynth prints one of its own where CI is set
    assert next(line.strip() for line in lines if "was found at" not in line) == _digest(corpus)


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
        assert item["waveform"].shape == (2, 399 * 1024) and item["roll"].shape == (1, 528, 400)
        assert item["start_frame"] == 0
        assert item["waveform"][:, :samples].abs().max() > 0 and (item["waveform"][:, samples:] == 0).all()


@pytest.mark.parametrize("wrong", [dict(frames=1), dict(length=0)])
def test_windows_refuse(corpus, wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Windows(corpus, **wrong)
