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
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from msanii.app import commands, main
from msanii.audio import InputError, load_audio, save_audio
from msanii.score import compose
from msanii.studio import Studio, again, examples, records, serve
from msanii.tasks import TASKS, perform, sha256, tasks


def songs(folder, seconds=1.5):
    "Two different clips and a score in a folder."
    t = torch.arange(round(seconds * 44100)) / 44100
    for name, hertz in (("a.wav", 220.0), ("b.wav", 330.0)):
        save_audio(folder / name, 0.2 * torch.sin(2 * torch.pi * hertz * t * torch.tensor([[1.0], [1.01]])))
    compose(1, seconds=1).write(str(folder / "c.mid"))
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


def test_a_model_offers_what_it_can(model, small_model):
    assert [
        name for name in ("sample", "style-transfer", "inpaint", "render") if name not in tasks(model)
    ] == []
    assert "render" not in tasks(small_model(conditional=False))
    with pytest.raises(InputError, match="not among those"): perform(model, "sing")


def test_every_task(studio, model, tmp_path):
    """Each one ends with a result, a row in the history, and a record from which Python and the command line
    make the same bits."""
    for i, task in enumerate(tasks(model)):
        do(studio, task, seed=i + 3, strength=0.25, ratio=0.75)
        name = line(studio).split(":")[0]
        assert name.endswith(f"-{task}.flac"), line(studio)
        assert (
            studio.nothing.layout.display == "none"
            and len(studio.history.children) == i + 1
            and name in studio.history.children[0].children[1].value
        )
        assert (
            "audio/mpeg" in studio.after.value
            and studio.bar.value == studio.bar.max == 2
            and studio.stop.disabled
            and not studio.go.disabled
        )
        record = json.loads((studio.folder / name).with_suffix(".json").read_text())
        assert (
            record["settings"]["seed"] == i + 3
            and record["settings"]["steps"] == 2
            and record["task"] == task
        )
        assert record["result"]["sha256"] == sha256(studio.folder / name) and [
            g["sha256"] for g in record["inputs"]
        ] == [sha256(studio.folder / g["name"]) for g in record["inputs"]]
        save_audio(tmp_path / name, again(record, model, studio.folder))
        assert sha256(tmp_path / name) == record["result"]["sha256"]
        words = shlex.split(record["command"])
        assert words[:2] == ["msanii", task]
        if task not in commands(): continue
        here = [
            (
                str(studio.folder / w)
                if (studio.folder / w).is_file() and w != name
                else str(tmp_path / f"cli-{name}") if w == name else w
            )
            for w in words[1:]
        ]
        assert main(here) == 0 and sha256(tmp_path / f"cli-{name}") == record["result"]["sha256"]


def test_record_refuses_what_has_changed(studio, model, tmp_path):
    do(studio, "style-transfer")
    record = records(studio.folder)[-1]
    songs(tmp_path, 1.4)
    with pytest.raises(InputError, match="a.wav is missing, or not the file"): again(record, model, tmp_path)
    with pytest.raises(InputError, match="another model"):
        again({**record, "model_sha256": "0"}, model, studio.folder)
    assert model.fingerprint() == record["model_sha256"]


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
    assert (
        line(studio) == "cancelled"
        and "press run" in studio.after.value
        and studio.bar.value < 1000
        and len(records(studio.folder)) == before
    )
    do(studio, "sample")
    assert line(studio).endswith("-sample.flac: 1.0 s")


def upload(chooser, name, data):
    "As the browser does it: ipywidgets 8 keeps files in a tuple, 7 (Colab's) in a dictionary."
    about = {"name": name, "type": "", "size": len(data), "last_modified": datetime.now()}
    if isinstance(chooser.button.value, dict): given = {name: {"metadata": about, "content": data}}
    else: given = ({**about, "content": memoryview(data)},)
    chooser.button.set_trait("value", given)


@pytest.mark.parametrize("name, data, words", [
    ("words.wav", b"not a sound", "words.wav cannot be read as sound"), ("empty.flac", b"",
        "empty.flac is empty"), ("song.aiff", b"FORM", "neither sound nor score"),
    ("bad.mid", b"MThd", "bad.mid cannot be read as MIDI"), ("<b>.mid", b"", "_b_.mid"), ("../../etc.ogg",
        b"OggS", "etc.ogg cannot be read")])
def test_bad_upload(studio, name, data, words):
    "One line that names the file, no path, and nothing is left behind."
    studio.task.value, before = "style-transfer", sorted(os.listdir(studio.folder))
    upload(studio.first, name, data)
    assert (
        words in line(studio)
        and str(studio.folder) not in studio.message.value
        and "\n" not in line(studio)
        and "msanii-error" in studio.message.value
    )
    assert sorted(os.listdir(studio.folder)) == before


def test_upload(studio, model):
    "Goes under its own name, or the next; never over another file."
    studio.task.value = "style-transfer"
    data = (studio.folder / "b.wav").read_bytes()
    upload(studio.first, "mine.wav", data)
    assert (
        studio.first.path.name == "mine.wav"
        and studio.first.path.read_bytes() == data
        and "mine.wav" in studio.before.value
    )
    upload(studio.first, "a.wav", data)
    assert studio.first.path.name == "a-2.wav" and (studio.folder / "a.wav").read_bytes() != data
    do(studio, "style-transfer")
    assert records(studio.folder)[-1]["inputs"] == [
        dict(name="a-2.wav", sha256=sha256(studio.folder / "b.wav"))
    ]


def test_inputs_that_cannot_be(studio):
    "They become one line, the studio stays usable."
    do(studio, "inpaint")
    studio.picker.set([(0, 9)])
    studio.go.click()
    studio.job.join(60)
    assert (
        "span (0, 9) does not lie within" in line(studio)
        and "msanii-error" in studio.message.value
        and not studio.go.disabled
    )
    studio.first.menu.options = []
    studio.go.click()
    studio.job.join(60)
    assert "inpaint takes 1 file" in line(studio)


def test_an_error_of_the_program_is_a_line_and_a_traceback(studio, monkeypatch, capsys):
    monkeypatch.setattr(type(studio.model), "sample", lambda *args, **kwargs: 1 / 0)
    do(studio, "sample")
    assert (
        line(studio) == "ZeroDivisionError: division by zero"
        and "Traceback" in capsys.readouterr().err
        and not studio.go.disabled
    )


def test_history_outlives_the_page(studio, model, model_folder):
    "Another studio over the same folder lists the same results; a row puts its settings back."
    do(studio, "style-transfer", strength=0.75, seed=41)
    (studio.folder / "7-notes.json").write_text("[1, 2")
    new = Studio(model, studio.folder, model_folder)
    assert len(new.history.children) == len(records(studio.folder)) == len(studio.history.children)
    new.task.value = "sample"
    new.history.children[0].children[0].click()
    assert (new.task.value, new.fields["strength"].value, new.fields["seed"].value) == (
        "style-transfer",
        0.75,
        41,
    )
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
        monkeypatch.setattr(
            "msanii.studio.find_spec", lambda name: None if name == missing else find_spec(name)
        )
        with pytest.raises(InputError, match=f"needs {missing}, .*pip install"): serve()


# ---- in a browser

def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
MISSING = [name for name, there in (("chromium", BROWSER), ("chromedriver", DRIVER), ("voila",
    find_spec("voila")), ("selenium", find_spec("selenium"))) if not there]
SHOTS = os.environ.get("STUDIO_SHOTS")  # a folder to keep screenshots in
FLAGS = ("--headless=new --no-sandbox --disable-gpu --disable-background-networking "
         "--disable-component-update --disable-sync --no-first-run --disable-dev-shm-usage "
         "--autoplay-policy=no-user-gesture-required")
HARMLESS = re.compile(r"favicon\.ico")  # the only error that may stand in the console
WAIT = 120  # seconds, for a busy machine


@pytest.fixture(scope="module")
def page(model_folder, tmp_path_factory):
    "The studio of `serve` in a browser, with clips of its own to upload."
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.support.ui import WebDriverWait
    top, port = tmp_path_factory.mktemp("page"), free_port()
    (top / "mine").mkdir(), (top / "downloads").mkdir(), (top / "served").mkdir()
    songs(top / "mine"), songs(top / "served")
    (top / "mine" / "b.wav").rename(top / "mine" / "mine.wav"), (top / "mine" / "words.wav").write_text(
        "not a sound"
    )
    code = (
        f"from msanii.studio import serve; serve(port={port}, weights={str(model_folder)!r}, browser=False,"
        f" folder={str(top / 'served')!r})"
    )
    log = (top / "log.txt").open("w")
    server = subprocess.Popen(
        [sys.executable, "-c", code], stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    driver = None
    try:
        options = webdriver.ChromeOptions()
        options.binary_location = BROWSER
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        for flag in [*FLAGS.split(), f"--user-data-dir={tempfile.mkdtemp(dir=top)}"]:
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        driver.set_page_load_timeout(WAIT), driver.set_script_timeout(WAIT)
        driver.execute_cdp_cmd(
            "Page.setDownloadBehavior", dict(behavior="allow", downloadPath=str(top / "downloads"))
        )
        driver.get("about:blank")  # away from the browser's own first page, and its requests
        driver.get_log("performance")
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


class Page:
    "What a person does on the page."
    def __init__(self, driver, port, top): self.driver, self.port, self.top = driver, port, top

    def js(self, code, *args): return self.driver.execute_script(code, *args)

    def until(self, condition, what):
        from selenium.common.exceptions import StaleElementReferenceException
        from selenium.webdriver.support.ui import WebDriverWait
        return WebDriverWait(self.driver, WAIT, 0.1, [StaleElementReferenceException]).until(
            lambda _: condition(), f"{what}; the page says: {self.message()}"
        )

    def message(self):
        return self.js(
            "return [...document.querySelectorAll('.msanii-words, .msanii-error')].map(e =>"
            " e.innerText).join(' ')"
        )

    def press(self, text):
        "Click a button of the studio, as soon as it is there and enabled."
        find = (
            "return [...document.querySelectorAll('.msanii-studio button')].find(b =>"
            " b.innerText.trim().startsWith(arguments[0]) && !b.disabled)"
        )
        def click():  # found anew each time, since the page may put another button in its place at any moment
            if not (button := self.js(find, text)): return False
            self.js("arguments[0].scrollIntoView({block: 'center'})", button)
            button.click()
            return True
        self.until(click, f"no button {text!r}")

    def shows(self, about):
        self.until(
            lambda: self.js("return document.querySelector('.msanii-studio')?.innerText ?? ''").find(about)
            >= 0,
            f"nothing about {about!r}",
        )

    def set(self, label, value):
        """Type a value into the number field beside a label, until it is seen to stand there: the field may
        belong to a panel that is being replaced."""
        enter = """const named = w => w.innerText.trim() == arguments[0]
            const all = [...document.querySelectorAll('.msanii-studio .widget-text')]
            const field = all.find(named)?.querySelector('input')
            if (!field) return false
            if (Number(field.value) == Number(arguments[1])) return true
            field.value = arguments[1]
            for (const kind of ['input', 'change']) field.dispatchEvent(new Event(kind, {bubbles: true}))
            return false"""
        self.until(lambda: self.js(enter, label, str(value)), f"no field {label!r}")

    def upload(self, path):
        "Through the button's own file input, which is not part of the document until it is put there."
        self.js(
            """HTMLInputElement.prototype.click = function() {
                this.style.display = 'block'; document.body.appendChild(this); window.chosen = this }"""
        )
        self.press("upload")
        self.until(lambda: self.js("return window.chosen"), "no file input").send_keys(str(path))
        self.js("window.chosen.remove(); window.chosen = null")

    def task(self, name):
        self.press(name)
        self.shows(ABOUT[name])

    def mark_a_span(self):
        "Drag the left handle of the marked third, from 0.5 to 0.25 s."
        from selenium.webdriver.common.action_chains import ActionChains
        handle, width = self.until(
            lambda: self.js(
                "const p = document.querySelector('.msanii-picker'); return p && p.querySelector('img') &&"
                " [p.querySelector('.noUi-handle'), p.clientWidth]"
            ),
            "no picture",
        )
        self.shows("0.5 to 1 s")
        self.js("arguments[0].scrollIntoView({block: 'center'})", handle)
        ActionChains(self.driver).click_and_hold(handle).move_by_offset(
            -round(width / 6), 0
        ).release().perform()
        self.until(
            lambda: "0.5 to 1 s" not in self.js("return document.querySelector('.msanii-studio').innerText"),
            "the handle does not move",
        )

    def download(self, name, kind):
        "Click a link in the history; the file that it saves."
        link = self.js(
            """return [...document.querySelectorAll('.msanii-side a')].find(
                a => a.innerText == arguments[1] && a.download == arguments[0])""",
            str(Path(name).with_suffix(f".{kind}")),
            kind,
        )
        self.js("arguments[0].scrollIntoView({block: 'center'})", link)
        link.click()
        path = self.top / "downloads" / Path(name).with_suffix(f".{kind}")
        self.until(path.exists, f"{path.name} is not saved")
        return path

    def result(self, name):
        "Wait for a result of this name; its player must be able to play."
        self.until(lambda: re.match(rf"\d+-{name}\.flac: \d", self.message()), f"no result of {name}")
        self.until(
            lambda: self.js(
                "return document.querySelectorAll('.msanii-side')[1].querySelectorAll('audio').length"
            ),
            "no player",
        )
        check = """const done = arguments[0]
            const a = document.querySelectorAll('.msanii-side')[1].querySelector('audio')
            const played = () => { a.pause(); done([a.duration, a.readyState, a.error && a.error.message]) }
            const play = () => a.play().then(played, e => done([String(e)]))
            const failed = () => done([a.error.message])
            a.readyState >= 3 ? play() : (a.addEventListener('canplay', play, {once: true}),
                a.addEventListener('error', failed, {once: true}), a.load())"""
        return self.driver.execute_async_script(check)

    def shot(self, name, width, height):
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            dict(width=width, height=height, deviceScaleFactor=1, mobile=width < 500),
        )
        self.js("window.scrollTo(0, 0)")
        self.until(lambda: self.js("return window.innerWidth") == width, "no such width")
        if SHOTS: self.driver.save_screenshot(str(Path(SHOTS) / f"{name}-{width}.png"))
        return self.js(
            "return Math.max(document.documentElement.scrollWidth,"
            " ...[...document.querySelectorAll('.msanii-studio .widget-html-content')].map(e =>"
            " e.getBoundingClientRect().right))"
        )


@pytest.mark.skipif(bool(MISSING), reason=f"missing: {', '.join(MISSING)}")
def test_in_a_browser(page, model):
    """A person uploads a file, runs each task, listens, downloads, cancels and is told of a mistake; the page
    fits a desktop and a phone."""
    page.shows("Synthesise music from noise")
    for task in tasks(model):
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

    page.task("sample")  # cancel
    page.set("steps", 1000)
    page.press("run")
    page.until(lambda: page.message().startswith("step "), "no progress")
    page.press("cancel")
    page.until(lambda: page.message() == "cancelled", "not cancelled")

    page.task("style-transfer")  # a mistake
    page.upload(page.top / "mine" / "words.wav")
    page.until(lambda: "words.wav cannot be read as sound" in page.message(), "no word about a bad file")
    assert page.js("return document.querySelectorAll('.msanii-error').length") == 1
    page.shot("mistake", 1280, 900)

    kept = records(page.top / "served")  # the history, and what can be downloaded from it
    assert [record["task"] for record in kept] == tasks(model)
    saved = page.download(f"{kept[-1]['result']['name']}", "flac"), page.download(
        f"{kept[-1]['result']['name']}", "json"
    )
    assert json.loads(saved[1].read_text()) == kept[-1] and sha256(saved[0]) == kept[-1]["result"]["sha256"]
    span = next(record for record in kept if record["task"] == "inpaint")["settings"]["spans"]
    dragged = len(span) == 1 and abs(span[0][0] - 0.25) < 0.05 and abs(span[0][1] - 1.0) < 0.05
    assert dragged, "the handles were dragged from 0.5 and 1.0 s to 0.25 and 1.0 s"

    for width, height in ((1280, 900), (390, 844)):
        for task in tasks(model):
            page.task(task)
            assert page.shot(task, width, height) <= width, "nothing sticks out"

    severe = [entry for entry in page.driver.get_log("browser") if entry["level"] == "SEVERE"]
    errors = [entry for entry in severe if not HARMLESS.search(entry["message"])]
    assert not errors
    asked = [json.loads(entry["message"])["message"] for entry in page.driver.get_log("performance")]
    requests = [event for event in asked if event["method"] == "Network.requestWillBeSent"]
    urls = {event["params"]["request"]["url"] for event in requests}
    assert any(f":{page.port}/" in url for url in urls)
    assert not [url for url in urls if not url.startswith((f"http://127.0.0.1:{page.port}/", "data:",
        "blob:"))], "nothing is asked of another server"


ABOUT = {name: task.about for name, task in TASKS.items()}
