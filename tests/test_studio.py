"""The studio: every task in its own process, and as a page in a real browser."""
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from msanii.app import command_parser, commands, main
from msanii.audio import InputError, load_audio, save_audio
from msanii.bits import BitUNet
from msanii.pipeline import Msanii
from msanii.plan import NOTES, PLAN
from msanii.score import load_score, song_by_rules
from msanii.studio import Studio, again, command, examples, keep, records, serve
from msanii.tasks import TASKS, perform, sha256, tasks


def songs(folder, seconds=1.5):
    "Two different clips and a score in a folder."
    folder.mkdir(exist_ok=True)
    t = torch.arange(round(seconds * 44100)) / 44100
    for name, hertz in (("a.wav", 220.0), ("b.wav", 330.0)):
        turns = hertz * t * torch.tensor([[1.0], [1.01]])
        save_audio(folder / name, 0.2 * torch.sin(2 * torch.pi * turns))
    song_by_rules(1, seconds=1).write(str(folder / "c.mid"))
    return folder


@pytest.fixture(scope="module")
def studio(model, model_folder, tmp_path_factory):
    return Studio(model, songs(tmp_path_factory.mktemp("studio")), model_folder)


def line(studio): return re.sub("<.*?>", "", studio.message.value)


def do(studio, task, **settings):
    "Choose a task, set its settings, run it to its end."
    studio.task.value = task
    for name, value in {"seconds": 1, "steps": 2, **settings}.items(): studio.fields[name].value = value
    studio.go.click()
    studio.job.join(60)
    assert not studio.job.is_alive()


NEEDS = {"render": 1, "style-transfer": 1, "interpolate": 2, "inpaint": 1, "outpaint": 1, "transcribe": 1}

@pytest.mark.parametrize("task", TASKS)
def test_the_command_of_a_record_is_one(task):
    "What the studio says makes a result again is taken by the command line."
    spans = dict(spans=[(1.0, 2.0)]) if task == "inpaint" else {}
    line = command(task, ["my song.wav", "b.wav"][: NEEDS.get(task, 0)], spans, "1-x.flac", "a model")
    for part in line.split(" && "):
        name, *words = shlex.split(part)[1:]
        command_parser(name).parse_args(words)


def test_a_model_offers_what_it_can(model, small_model):
    assert {"sample", "style-transfer", "inpaint", "render"} <= set(tasks(model))
    assert "render" not in tasks(small_model(conditional=False))
    with pytest.raises(InputError, match="not among those"): perform(model, "sing")


def test_every_task(studio, model, tmp_path):
    """Each one ends with a result, a row in the history, and a record from which Python and the command line
    make the same bits."""
    for i, task in enumerate(tasks(model)):
        do(studio, task, seed=i + 3, strength=0.25, ratio=0.75)
        name = line(studio).split(":")[0]
        assert name.endswith(f"-{task}.flac"), line(studio)
        assert studio.nothing.layout.display == "none" and len(studio.history.children) == i + 1
        assert name in studio.history.children[0].children[1].value
        assert "audio/mpeg" in studio.after.value and studio.bar.value == studio.bar.max == 2
        assert studio.stop.disabled and not studio.go.disabled
        record = json.loads((studio.folder / name).with_suffix(".json").read_text())
        assert record["settings"]["seed"] == i + 3 and record["settings"]["steps"] == 2
        assert record["task"] == task
        assert record["result"]["sha256"] == sha256(studio.folder / name)
        for given in record["inputs"]: assert given["sha256"] == sha256(studio.folder / given["name"])
        save_audio(tmp_path / name, again(record, model, studio.folder))
        assert sha256(tmp_path / name) == record["result"]["sha256"]
        words = shlex.split(record["command"])
        assert words[:2] == ["msanii", task]
        if task not in commands(): continue
        there = {w: str(studio.folder / w) for w in words[1:] if (studio.folder / w).is_file()}
        there[name] = str(tmp_path / f"cli-{name}")
        assert main([there.get(w, w) for w in words[1:]]) == 0
        assert sha256(tmp_path / f"cli-{name}") == record["result"]["sha256"]


@pytest.fixture(scope="module")
def composing(small_model, tmp_path_factory):
    "A studio whose model composes: a few notes anywhere, since it has learned nothing."
    how = dict(width=16, levels=2, blocks=1, attention=1, heads=4, expansion=2, join=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        planner = BitUNet(d_freq=171, d_cond=PLAN.rows, **how).expect(torch.full((1, 171), 0.5))
        composer = BitUNet(d_freq=264, d_cond=NOTES.rows, channels=2, **how)
        composer.expect(torch.full((2, 264), 0.03))
    small = small_model()
    m = Msanii(small.unet, small.vocoder, small.mel, small.settings, planner=planner, composer=composer)
    top = tmp_path_factory.mktemp("composing")
    return Studio(m, songs(top / "page"), m.save_pretrained(top / "model"))


def compose(studio, **settings):
    "Fill in the form of compose, as typed, and run it to its end."
    studio.task.value = "compose"
    empty = dict.fromkeys(("chords", "key", "tempo", "form", "lyrics"), "")
    for name, value in {**empty, "seconds": 4, "meter": 4, "density": 1, "seed": 0, **settings}.items():
        studio.fields[name].value = value
    studio.go.click()
    studio.job.join(120)
    assert not studio.job.is_alive() and not studio.go.disabled


def test_compose(composing, tmp_path):
    """The page shows a roll and plays it, saves score and sound, and its record and its command make the same
    bits."""
    compose(composing, chords="C G | Am F", tempo="96", meter=3, form="AB", seed=5, lyrics="one two three")
    name = line(composing).split(":")[0]
    assert name.endswith("-compose.flac"), line(composing)
    record = json.loads((composing.folder / name).with_suffix(".json").read_text())
    assert record["settings"] == dict(seconds=4, chords="C G | Am F", tempo=96, meter=3, form="AB", density=1,
                                      lyrics="one two three", seed=5)
    mid = (composing.folder / name).with_suffix(".mid")
    score = load_score(mid)
    assert [sign.numerator for sign in score.time_signature_changes] == [3] and len(score.lyrics) == 3
    for shown in ("piano roll of", "spectrogram of", "audio/mpeg", f'download="{mid.name}"'):
        assert shown in composing.after.value
    row = composing.history.children[0].children[1].value
    assert all(f'download="{mid.with_suffix(kind).name}"' in row for kind in (".mid", ".flac", ".json"))
    save_audio(tmp_path / name, again(record, composing.model, composing.folder))
    assert sha256(tmp_path / name) == record["result"]["sha256"]
    words = shlex.split(record["command"])
    there = {w: str(tmp_path / f"cli-{w}") for w in (name, mid.name)}
    assert main([there.get(w, w) for w in words[1:]]) == 0
    assert sha256(there[name]) == record["result"]["sha256"]
    assert Path(there[mid.name]).read_bytes() == mid.read_bytes()


def test_compose_is_put_back(composing):
    compose(composing, tempo="100", form="A")
    old = records(composing.folder)[-1]
    compose(composing, key="A minor")
    assert "form" not in records(composing.folder)[-1]["settings"]
    composing.show(old)
    fields = {name: composing.fields[name].value for name in ("tempo", "form", "key", "meter")}
    assert fields == dict(tempo="100", form="A", key="", meter=4) and "piano roll" in composing.after.value
    composing.task.value = "render"
    composing.first.fill(choose=Path(old["result"]["name"]).with_suffix(".mid").name)
    assert "played by FluidSynth" in composing.before.value  # what was composed can be played anew


@pytest.mark.parametrize("name, value", [
    ("chords", "C H"), ("key", "H"), ("tempo", "fast"), ("tempo", "5"), ("form", "8"), ("lyrics", "..."),
    ("seconds", 0.2)])
def test_what_cannot_be_composed_is_a_line(composing, name, value, capsys):
    before = len(records(composing.folder))
    compose(composing, **{name: value})
    assert name in line(composing) and "msanii-error" in composing.message.value
    assert "Traceback" not in capsys.readouterr().err and len(records(composing.folder)) == before


def test_a_composition_is_cancelled(composing):
    composing._step = lambda i: composing.cancel()
    try: compose(composing)
    finally: del composing._step
    assert line(composing) == "cancelled"


def test_record_refuses_what_has_changed(studio, model, tmp_path):
    do(studio, "style-transfer")
    record = records(studio.folder)[-1]
    songs(tmp_path, 1.4)
    with pytest.raises(InputError, match="a.wav is missing, or not the file"): again(record, model, tmp_path)
    with pytest.raises(InputError, match="another model"):
        again({**record, "model_sha256": "0"}, model, studio.folder)
    assert model.fingerprint() == record["model_sha256"]


def test_steps_follow_the_way(tmp_path):
    "What is played through a score takes few passes; a number that somebody chose stays."
    studio = Studio(Msanii.from_pretrained(device="cpu"), songs(tmp_path))
    task, fields = studio.task, studio.fields
    task.value = "style-transfer"
    assert fields["steps"].value == studio.model.settings.steps
    ways = ("through", "score", 2), ("through", "sound", 20), ("instruments", "piano=harp", 2)
    for name, value, steps in ways:
        fields[name].value = value
        assert fields["steps"].value == steps, (name, value)
    task.value = "inpaint"
    assert fields["steps"].value == 20
    fields["steps"].value, task.value = 7, "render"
    assert fields["steps"].value == 7


def test_cancel(studio):
    "The task ends after its step, nothing is kept, and the studio goes on."
    reached, before = threading.Event(), len(records(studio.folder))
    studio.task.value, studio.fields["steps"].value, studio.fields["seconds"].value = "sample", 1000, 1
    step = studio._step
    studio._step = lambda i: (step(i), reached.set())
    try:
        studio.go.click()
        assert reached.wait(60) and studio.go.disabled and not studio.stop.disabled
        studio.stop.click()
        studio.job.join(60)
    finally: del studio._step
    assert line(studio) == "cancelled" and "press run" in studio.after.value and studio.bar.value < 1000
    assert len(records(studio.folder)) == before
    do(studio, "sample")
    assert line(studio).endswith("-sample.flac: 1.0 s")


def upload(chooser, name, data):
    "As the browser does it: ipywidgets 8 keeps files in a tuple, 7 (Colab's) in a dictionary."
    about = {"name": name, "type": "", "size": len(data), "last_modified": datetime.now()}
    if isinstance(chooser.button.value, dict): given = {name: {"metadata": about, "content": data}}
    else: given = ({**about, "content": memoryview(data)},)
    chooser.button.set_trait("value", given)


@pytest.mark.parametrize("name, data, words", [
    ("words.wav", b"not a sound", "words.wav cannot be read as sound"),
    ("empty.flac", b"", "empty.flac is empty"), ("song.aiff", b"FORM", "neither sound nor score"),
    ("bad.mid", b"MThd", "bad.mid cannot be read as MIDI"), ("<b>.mid", b"", "_b_.mid"),
    ("../../etc.ogg", b"OggS", "etc.ogg cannot be read")])
def test_bad_upload(studio, name, data, words):
    "One line that names the file, no path, and nothing is left behind."
    studio.task.value, before = "style-transfer", sorted(os.listdir(studio.folder))
    upload(studio.first, name, data)
    assert words in line(studio) and str(studio.folder) not in studio.message.value
    assert "\n" not in line(studio) and "msanii-error" in studio.message.value
    assert sorted(os.listdir(studio.folder)) == before


def test_upload(studio, model):
    "Goes under its own name, or the next; never over another file."
    studio.task.value = "style-transfer"
    data = (studio.folder / "b.wav").read_bytes()
    upload(studio.first, "mine.wav", data)
    assert studio.first.path.name == "mine.wav" and studio.first.path.read_bytes() == data
    assert "mine.wav" in studio.before.value
    upload(studio.first, "a.wav", data)
    assert studio.first.path.name == "a-2.wav" and (studio.folder / "a.wav").read_bytes() != data
    do(studio, "style-transfer")
    same = sha256(studio.folder / "b.wav")
    assert records(studio.folder)[-1]["inputs"] == [dict(name="a-2.wav", sha256=same)]


def test_inputs_that_cannot_be(studio):
    "They become one line, the studio stays usable."
    do(studio, "inpaint")
    studio.picker.set([(0, 9)])
    studio.go.click()
    studio.job.join(60)
    assert "span (0, 9) does not lie within" in line(studio) and "msanii-error" in studio.message.value
    assert not studio.go.disabled
    studio.first.menu.options = []
    studio.go.click()
    studio.job.join(60)
    assert "inpaint takes 1 file" in line(studio)


def test_an_error_of_the_program_is_a_line_and_a_traceback(studio, monkeypatch, capsys):
    monkeypatch.setattr(type(studio.model), "sample", lambda *args, **kwargs: 1 / 0)
    do(studio, "sample")
    assert line(studio) == "ZeroDivisionError: division by zero" and "Traceback" in capsys.readouterr().err
    assert not studio.go.disabled


def test_history_outlives_the_page(studio, model, model_folder):
    "Another studio over the same folder lists the same results; a row puts its settings back."
    do(studio, "style-transfer", strength=0.75, seed=41)
    (studio.folder / "7-notes.json").write_text("[1, 2")
    new = Studio(model, studio.folder, model_folder)
    assert len(new.history.children) == len(records(studio.folder)) == len(studio.history.children)
    new.task.value = "sample"
    new.history.children[0].children[0].click()
    assert new.task.value == "style-transfer"
    assert (new.fields["strength"].value, new.fields["seed"].value) == (0.75, 41)
    assert "audio/mpeg" in new.before.value and "audio/mpeg" in new.after.value


def test_spans(studio):
    studio.task.value = "inpaint"
    studio.first.fill(choose="a.wav")
    picker = studio.picker
    assert picker.spans == [[0.5, 1.0]] and picker.slider.max == 1.5
    picker.add.click()
    picker.slider.value = (0.1, 0.2)
    picker.add.click()
    picker.slider.value = (1.2, 1.3)
    assert picker.spans == [[0.1, 0.2], [0.5, 1.0]] and picker.picture.value.count("<i ") == 2
    picker.clear.click()
    assert picker.spans == [[1.2, 1.3]]


def test_examples(tmp_path):
    examples(tmp_path)
    assert load_audio(tmp_path / "example.flac").shape[1] > 44100 and (tmp_path / "example.mid").exists()


def test_serve_says_what_is_wrong(model_folder, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0)), taken.listen()
        with pytest.raises(InputError, match="cannot be listened at"):
            serve(port=taken.getsockname()[1], weights=model_folder)
    with pytest.raises(InputError, match="no such folder"): serve(port=free_port(), weights="no such folder")
    for missing in ("voila", "ipykernel"):
        found = lambda name: None if name == missing else find_spec(name)
        monkeypatch.setattr("msanii.studio.find_spec", found)
        with pytest.raises(InputError, match=f"needs {missing}, .*pip install"): serve()


# ---- in a browser

def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
NEEDED = dict(chromium=BROWSER, chromedriver=DRIVER, voila=find_spec("voila"), selenium=find_spec("selenium"))
MISSING = [name for name, there in NEEDED.items() if not there]
SHOTS = os.environ.get("STUDIO_SHOTS")  # a folder to keep screenshots in
FLAGS = """--headless=new --no-sandbox --disable-gpu --disable-background-networking --disable-sync
           --disable-component-update --no-first-run --disable-dev-shm-usage
           --autoplay-policy=no-user-gesture-required"""
HARMLESS = re.compile(r"favicon\.ico")  # the only error that may stand in the console
WAIT = 120  # seconds, for a busy machine


def clips(top):
    "Folders of what a person would upload, of what the page serves, and for what is downloaded."
    for name in ("mine", "downloads", "served"): (top / name).mkdir()
    songs(top / "mine"), songs(top / "served")
    (top / "mine" / "b.wav").rename(top / "mine" / "mine.wav")
    (top / "mine" / "words.wav").write_text("not a sound")


SERVE = "from msanii.studio import serve; serve(port={}, weights={!r}, browser=False, folder={!r})"


def browser(top):
    "Chromium, which saves into a folder, and keeps what the console and the network say."
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    flags = [*FLAGS.split(), f"--user-data-dir={tempfile.mkdtemp(dir=top)}"]
    for flag in flags: options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_page_load_timeout(WAIT), driver.set_script_timeout(WAIT)
    into = dict(behavior="allow", downloadPath=str(top / "downloads"))
    driver.execute_cdp_cmd("Page.setDownloadBehavior", into)
    driver.get("about:blank")  # away from the browser's own first page, and its requests
    driver.get_log("performance")
    return driver


@pytest.fixture(scope="module")
def page(model_folder, tmp_path_factory):
    "The studio of `serve` in a browser, with clips of its own to upload."
    from selenium.webdriver.support.ui import WebDriverWait
    top, port, driver = tmp_path_factory.mktemp("page"), free_port(), None
    clips(top)
    code, log = SERVE.format(port, str(model_folder), str(top / "served")), (top / "log.txt").open("w")
    server = subprocess.Popen([sys.executable, "-c", code], stdout=log, stderr=log,
                              env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        driver = browser(top)
        WebDriverWait(driver, WAIT, 0.2).until(lambda d: answers(port) or server.poll() is not None)
        assert server.poll() is None, (top / "log.txt").read_text()
        driver.get(f"http://127.0.0.1:{port}")
        yield Page(driver, port, top)
    finally:
        if driver: driver.quit()
        server.send_signal(signal.SIGTERM)
        server.wait(30)
        log.close()
    assert not answers(port), "Voila ends with serve"


def answers(port):
    with socket.socket() as probe: return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.skipif(not find_spec("voila"), reason="Voila is not installed")
@pytest.mark.parametrize("home", ("/dev/null", "gone/away", "a file"))
def test_a_home_that_cannot_be_written(model_folder, tmp_path, home):
    "The page is there all the same, and what the server keeps goes into a folder of its own, gone with it."
    (tmp_path / "a file").touch(), (tmp_path / "tmp").mkdir()
    home, port = str(tmp_path / home), free_port()
    env = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER_", "IPYTHON"))}
    env |= dict(OMP_NUM_THREADS="1", HOME=home, TMPDIR=str(tmp_path / "tmp"))
    env |= dict(JUPYTER_RUNTIME_DIR=f"{home}/run")
    words = [sys.executable, "-m", "msanii.app", "app", "--no-browser"]
    words += ["--port", str(port), "--weights", str(model_folder)]
    with (tmp_path / "log.txt").open("w") as log:
        server = subprocess.Popen(words, stdout=log, stderr=log, env=env)
        try:
            deadline = time.monotonic() + WAIT
            while not answers(port) and server.poll() is None and time.monotonic() < deadline: time.sleep(0.2)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=WAIT) as page:
                assert page.status == 200 and b"msanii" in page.read()
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(60)
    assert not answers(port)
    assert not list((tmp_path / "tmp").glob("msanii-*/")), "nothing is left behind"


def test_results_of_two_pages_have_numbers_of_their_own(model, tmp_path):
    "Both look for a number that is not taken, at the same time."
    sound = torch.zeros(2, 44_100)
    made = []
    def work():
        for _ in range(4): made.append(keep(model, sound, tmp_path, "sample", [], {})["result"]["name"])
    pages = [threading.Thread(target=work) for _ in range(3)]
    for one in pages: one.start()
    for one in pages: one.join()
    assert len(set(made)) == 12 == len(list(tmp_path.glob("*.flac")))


MESSAGE = """
    const said = [...document.querySelectorAll('.msanii-words, .msanii-error')]
    return said.map(e => e.innerText).join(' ')"""
TEXT = "return document.querySelector('.msanii-studio')?.innerText ?? ''"
BUTTON = """
    const buttons = [...document.querySelectorAll('.msanii-studio button')]
    return buttons.find(b => b.innerText.trim().startsWith(arguments[0]) && !b.disabled)"""
ENTER = """
    const knobs = [...document.querySelectorAll('.msanii-studio .widget-text')]
    const field = knobs.find(w => w.innerText.trim() == arguments[0])?.querySelector('input')
    if (!field) return false
    if (Number(field.value) == Number(arguments[1])) return true
    field.value = arguments[1]
    for (const kind of ['input', 'change']) field.dispatchEvent(new Event(kind, {bubbles: true}))
    return false"""
CATCH_INPUT = """
    HTMLInputElement.prototype.click = function() {
        this.style.display = 'block'
        document.body.appendChild(this)
        window.chosen = this
    }"""
HANDLE = """
    const p = document.querySelector('.msanii-picker')
    return p && p.querySelector('img') && [p.querySelector('.noUi-handle'), p.clientWidth]"""
LINK = """
    const links = [...document.querySelectorAll('.msanii-side a')]
    return links.find(a => a.innerText == arguments[1] && a.download == arguments[0])"""
PLAYERS = "return document.querySelectorAll('.msanii-side')[1].querySelectorAll('audio').length"
PLAY = """
    const done = arguments[0], a = document.querySelectorAll('.msanii-side')[1].querySelector('audio')
    const heard = () => { a.pause(); done([a.duration, a.readyState, a.error && a.error.message]) }
    const play = () => a.play().then(heard, e => done([String(e)]))
    if (a.readyState >= 3) return play()
    a.addEventListener('canplay', play, {once: true})
    a.addEventListener('error', () => done([a.error.message]), {once: true})
    a.load()"""
FARTHEST = """
    const parts = [...document.querySelectorAll('.msanii-studio .widget-html-content')]
    const ends = parts.map(e => e.getBoundingClientRect().right)
    return Math.max(document.documentElement.scrollWidth, ...ends)"""


class Page:
    "What a person does on the page."
    def __init__(self, driver, port, top): self.driver, self.port, self.top = driver, port, top

    def js(self, code, *args): return self.driver.execute_script(code, *args)

    def until(self, condition, what):
        from selenium.common.exceptions import StaleElementReferenceException
        from selenium.webdriver.support.ui import WebDriverWait
        wait = WebDriverWait(self.driver, WAIT, 0.1, [StaleElementReferenceException])
        return wait.until(lambda _: condition(), f"{what}; the page says: {self.message()}")

    def message(self): return self.js(MESSAGE)

    def press(self, text):
        "Click a button of the studio, as soon as it is there and enabled."
        def click():  # found anew each time, since the page may put another button in its place at any moment
            if not (button := self.js(BUTTON, text)): return False
            self.js("arguments[0].scrollIntoView({block: 'center'})", button)
            button.click()
            return True
        self.until(click, f"no button {text!r}")

    def shows(self, about): self.until(lambda: about in self.js(TEXT), f"nothing about {about!r}")

    def set(self, label, value):
        """Type a value into the number field beside a label, until it is seen to stand there: the field may
        belong to a panel that is being replaced."""
        self.until(lambda: self.js(ENTER, label, str(value)), f"no field {label!r}")

    def upload(self, path):
        "Through the button's own file input, which is not part of the document until it is put there."
        self.js(CATCH_INPUT)
        self.press("upload")
        self.until(lambda: self.js("return window.chosen"), "no file input").send_keys(str(path))
        self.js("window.chosen.remove(); window.chosen = null")

    def task(self, name):
        self.press(name)
        self.shows(ABOUT[name])

    def mark_a_span(self):
        "Drag the left handle of the marked third, from 0.5 to 0.25 s."
        from selenium.webdriver.common.action_chains import ActionChains
        handle, width = self.until(lambda: self.js(HANDLE), "no picture")
        self.shows("0.5 to 1 s")
        self.js("arguments[0].scrollIntoView({block: 'center'})", handle)
        held = ActionChains(self.driver).click_and_hold(handle)
        held.move_by_offset(-round(width / 6), 0).release().perform()
        self.until(lambda: "0.5 to 1 s" not in self.js(TEXT), "the handle does not move")

    def download(self, name, kind):
        "Click a link in the history; the file that it saves."
        file = Path(name).with_suffix(f".{kind}")
        link = self.js(LINK, str(file), kind)
        self.js("arguments[0].scrollIntoView({block: 'center'})", link)
        link.click()
        path = self.top / "downloads" / file
        self.until(path.exists, f"{path.name} is not saved")
        return path

    def result(self, name):
        "Wait for a result of this name; its player must be able to play."
        self.until(lambda: re.match(rf"\d+-{name}\.flac: \d", self.message()), f"no result of {name}")
        self.until(lambda: self.js(PLAYERS), "no player")
        return self.driver.execute_async_script(PLAY)

    def shot(self, name, width, height):
        "A screenshot, where they are asked for; how far to the right the page reaches."
        size = dict(width=width, height=height, deviceScaleFactor=1, mobile=width < 500)
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.js("window.scrollTo(0, 0)")
        self.until(lambda: self.js("return window.innerWidth") == width, "no such width")
        if SHOTS: self.driver.save_screenshot(str(Path(SHOTS) / f"{name}-{width}.png"))
        return self.js(FARTHEST)


def each_task(page, names):
    "Run each task, and listen to what it makes."
    for task in names:
        page.task(task)
        page.set("steps", 1)
        if task in ("sample", "outpaint"): page.set("seconds", 1)
        if task == "style-transfer":
            page.upload(page.top / "mine" / "mine.wav")
            page.shows("mine.wav, 1.5 s")
        if task == "inpaint": page.mark_a_span()
        page.press("run")
        duration, ready, error = page.result(task)
        assert 0.9 < duration < 5 and ready >= 2 and error is None, (task, duration, ready, error)
    page.shot("result", 1280, 900)


def cancel(page):
    page.task("sample")
    page.set("steps", 1000)
    page.press("run")
    page.until(lambda: page.message().startswith("step "), "no progress")
    page.press("cancel")
    page.until(lambda: page.message() == "cancelled", "not cancelled")


def mistake(page):
    page.task("style-transfer")
    page.upload(page.top / "mine" / "words.wav")
    page.until(lambda: "words.wav cannot be read as sound" in page.message(), "no word about a bad file")
    assert page.js("return document.querySelectorAll('.msanii-error').length") == 1
    page.shot("mistake", 1280, 900)


def history(page, names):
    "What is kept, and what can be downloaded."
    kept = records(page.top / "served")
    assert [record["task"] for record in kept] == names
    last = kept[-1]["result"]
    assert sha256(page.download(last["name"], "flac")) == last["sha256"]
    assert json.loads(page.download(last["name"], "json").read_text()) == kept[-1]
    span, = next(record for record in kept if record["task"] == "inpaint")["settings"]["spans"]
    moved = "the handles were dragged from 0.5 and 1.0 s to 0.25 and 1.0 s"
    assert abs(span[0] - 0.25) < 0.05 and abs(span[1] - 1.0) < 0.05, moved


def console_and_network(page):
    said = [entry for entry in page.driver.get_log("browser") if entry["level"] == "SEVERE"]
    assert not [entry for entry in said if not HARMLESS.search(entry["message"])]
    events = [json.loads(entry["message"])["message"] for entry in page.driver.get_log("performance")]
    asked = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    urls, own = {params["request"]["url"] for params in asked}, f"http://127.0.0.1:{page.port}/"
    assert any(url.startswith(own) for url in urls)
    elsewhere = [url for url in urls if not url.startswith((own, "data:", "blob:"))]
    assert not elsewhere, "nothing is asked of another server"


@pytest.mark.skipif(bool(MISSING), reason=f"missing: {', '.join(MISSING)}")
def test_in_a_browser(page, model):
    """A person uploads a file, runs each task, listens, downloads, cancels and is told of a mistake; the page
    fits a desktop and a phone."""
    page.shows("Make music from nothing")
    each_task(page, tasks(model))
    cancel(page)
    mistake(page)
    history(page, tasks(model))
    for width, height in ((1280, 900), (390, 844)):
        for task in tasks(model):
            page.task(task)
            assert page.shot(task, width, height) <= width, "nothing sticks out"
    console_and_network(page)


ABOUT = {name: task.about for name, task in TASKS.items()}


# ---- Live

# a session whose bars are a second of a sine that goes on; the eighth takes too long
STUB = '''
import math, time
import pretty_midi, torch
from msanii.live import Bars
from msanii.studio import LivePanel

class Session:
    number, bars, chord = 0, [0], "C:maj"
    def change(self, **settings): self.chord = settings.get("chords", self.chord)
    def again(self, bars): self.chord = "again"
    def next(self):
        if self.number == 7: time.sleep(4)
        n = 44_100 * self.number + torch.arange(44_100, dtype=torch.double)
        sound = 0.5 * torch.sin(2 * math.pi * 441 / 44_100 * n).float().expand(2, -1)
        score = pretty_midi.PrettyMIDI()
        score.text_events.append(pretty_midi.Text(self.chord, 0.0))
        self.number += 1
        return Bars(sound, score, self.number - 1, self.number - 1.0, 240.0)
'''
PANEL = "\nLivePanel(lambda **settings: Session())"


LIVE = """
    const el = document.querySelector('.msanii-live')
    if (!el || !el.msanii) return null
    const about = b => ({number: b.number, when: b.when, seconds: b.seconds, chords: b.chords})
    const s = el.msanii, bars = s.bars.map(about)
    return {bars, waits: s.waits, clock: s.clock(), words: el.querySelector('.msanii-hint').textContent}"""
LISTEN = """
    // how far a sample is from where a sine of 441 Hz would go on, in blocks of 128, where it sounds
    const done = arguments[0], out = document.querySelector('.msanii-live').msanii.out()
    const context = out.context, blob = code => new Blob([code], {type: 'text/javascript'})
    const code = `registerProcessor('listen', class extends AudioWorkletProcessor {
      process([[x]]) {
        let most = 0
        if (x) for (const now of x) {
          const next = 2 * Math.cos(2 * Math.PI / 100) * this.one - this.two
          if (this.two !== undefined) most = Math.max(most, Math.abs(now - next))
          this.two = this.one; this.one = now
        }
        this.port.postMessage([currentTime, most, x ? Math.max(...x.map(Math.abs)) : 0])
        return true
      } })`
    window.heard = []
    context.audioWorklet.addModule(URL.createObjectURL(blob(code))).then(() => {
      const node = new AudioWorkletNode(context, 'listen', {numberOfOutputs: 0})
      node.port.onmessage = e => window.heard.push(e.data)
      out.connect(node)
      done(true)
    }, e => done(String(e)))"""
TAB = """
    const tabs = [...document.querySelectorAll('.lm-TabBar-tab, .p-TabBar-tab')]
    return tabs.find(t => t.innerText.trim() == arguments[0])"""
NO_WIDGET = pytest.mark.skipif(bool(MISSING) or not find_spec("anywidget"),
                               reason=f"missing: {', '.join(MISSING) or 'anywidget'}")


def opened(top, code):
    "A served page in a browser: a `Page`, and how to end both."
    from contextlib import contextmanager
    from selenium.webdriver.support.ui import WebDriverWait
    @contextmanager
    def both():
        port, driver, log = free_port(), None, (top / "log.txt").open("w")
        (top / "downloads").mkdir(exist_ok=True)
        words, env = [sys.executable, "-c", code.replace("PORT", str(port))], dict(OMP_NUM_THREADS="1")
        server = subprocess.Popen(words, stdout=log, stderr=log, env={**os.environ, **env})
        try:
            driver = browser(top)
            WebDriverWait(driver, WAIT, 0.2).until(lambda d: answers(port) or server.poll() is not None)
            assert server.poll() is None, (top / "log.txt").read_text()
            driver.get(f"http://127.0.0.1:{port}")
            yield Page(driver, port, top)
        finally:
            if driver: driver.quit()
            server.send_signal(signal.SIGTERM)
            server.wait(30)
            log.close()
    return both()


def click(page, text):
    "Click any button of the page that says this."
    find = f"return [...document.querySelectorAll('button')].find(b => b.innerText.trim() == {text!r})"
    page.until(lambda: page.js(find), f"no button {text!r}").click()


@NO_WIDGET
def test_bars_are_played_without_a_gap(tmp_path, model_folder):
    """Measured by the widget's own clock, and by a listener on the audio thread: six bars, one after the
    other; a late one makes a rest at the end of a bar, and a line that says so."""
    (tmp_path / "page.py").write_text(STUB)
    page = f"exec(open({str(tmp_path / 'page.py')!r}).read())" + PANEL
    code = f"import msanii.studio as s; s.PAGE = {page!r}; s.serve(port=PORT, browser=False, "
    with opened(tmp_path, code + f"weights={str(model_folder)!r}, folder={str(tmp_path)!r})") as page:
        click(page, "Play")
        page.until(lambda: page.js(LIVE)["bars"], "nothing is played")
        assert page.driver.execute_async_script(LISTEN) is True
        click(page, "again")
        page.until(lambda: (page.js(LIVE) or {}).get("waits"), "it never falls behind")
        assert "falls behind" in page.js(LIVE)["words"]
        page.until(lambda: page.js(LIVE)["bars"][-1]["number"] >= 9, "it does not go on")
        said, heard = page.js(LIVE), page.js("return window.heard")
    bars = said["bars"]
    ends = [bar["when"] + bar["seconds"] for bar in bars]
    gaps = [b["when"] - end for end, b in zip(ends, bars[1:])]
    assert [bar["number"] for bar in bars] == list(range(len(bars))) and said["waits"] == 1
    late = max(range(len(gaps)), key=gaps.__getitem__)
    assert gaps[late] > 0.5 and max(g for i, g in enumerate(gaps) if i != late) < 1e-9
    assert "falls behind" not in said["words"]
    assert "again" in [bar["chords"][0][1] for bar in bars[:5]]
    before = [most for at, most, loud in heard if bars[0]["when"] + 0.1 < at < ends[late] - 0.1]
    silence = [loud for at, most, loud in heard if ends[late] + 0.01 < at < bars[late + 1]["when"] - 0.01]
    after = [most for at, most, loud in heard if bars[late + 1]["when"] + 0.1 < at < ends[-1] - 0.1]
    assert len(before) > 300 and max(before) < 1e-3 and max(silence) == 0
    assert len(after) > 50 and max(after) < 1e-3


@NO_WIDGET
def test_a_chord_is_heard_within_two_bars(tmp_path, composing):
    "In the studio, from a press on the button of a chord."
    folder = composing.folder.parent / "model"
    code = f"from msanii.studio import serve; serve(port=PORT, weights={str(folder)!r}, browser=False)"
    with opened(tmp_path, code) as page:
        page.until(lambda: page.js(TAB, "Live"), "no tab").click()
        click(page, "Play")
        page.until(lambda: len(page.js(LIVE)["bars"]) > 3, "nothing is played")
        click(page, "Bb")
        pressed = page.js(LIVE)
        now = max(bar["number"] for bar in pressed["bars"] if bar["when"] <= pressed["clock"])
        new = lambda: [b for b in page.js(LIVE)["bars"] if b["chords"][0][1] == "Bb:maj"]
        page.until(new, "the chord is not heard")
        state = page.js(LIVE)
        bars, rests = state["bars"], state["waits"]  # a busy machine may fall behind
        assert new()[0]["number"] <= now + 2 + rests
        assert [bar["number"] for bar in bars] == list(range(len(bars)))
        assert {bar["seconds"] for bar in bars} == {2.5}
        gaps = [b["when"] - a["when"] - a["seconds"] for a, b in zip(bars, bars[1:])]
        assert sum(gap > 1e-9 for gap in gaps) <= rests
        for width, height in ((1280, 900), (390, 844)): assert page.shot("live", width, height) <= width
