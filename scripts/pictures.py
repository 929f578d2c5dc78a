"""Takes the pictures of the studio that stand in the notebooks: python scripts/pictures.py

The page of `msanii app` is opened in Chromium, composes a piece, and plays live. Needs Chromium with its
driver, and selenium."""
import shutil, socket, subprocess, sys, tempfile, time
from io import BytesIO
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

IMAGES = Path(__file__).parents[1] / "nbs" / "images"
FLAGS = "--headless=new --no-sandbox --disable-gpu --autoplay-policy=no-user-gesture-required"
BUTTON = "return [...document.querySelectorAll('button')].find(b => b.innerText.trim() == arguments[0])"
TAB = """return [...document.querySelectorAll('.lm-TabBar-tab, .p-TabBar-tab')].find(
    t => t.innerText.trim() == arguments[0])"""
FIELD = """
    const all = [...document.querySelectorAll('.msanii-studio .widget-text')]
    const field = all.find(w => w.innerText.trim() == arguments[0] && w.offsetParent)?.querySelector('input')
    field.value = arguments[1]
    for (const kind of ['input', 'change']) field.dispatchEvent(new Event(kind, {bubbles: true}))"""
MADE = "return document.querySelectorAll('.msanii-side')[1]?.querySelectorAll('audio').length"
BARS = "return document.querySelector('.msanii-live')?.msanii?.bars.length ?? 0"
WAIT = 240  # seconds


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port):
    with socket.socket() as probe: return probe.connect_ex(("127.0.0.1", port)) == 0


def shot(driver, name, height):
    "The page from its top, as a PNG of few colours."
    driver.set_window_size(1180, height)
    driver.execute_script("window.scrollTo(0, 0)")
    time.sleep(1)
    picture = Image.open(BytesIO(driver.get_screenshot_as_png())).convert("RGB").quantize(128)
    picture.save(IMAGES / f"{name}.png", optimize=True)
    print(f"{name}.png: {(IMAGES / f'{name}.png').stat().st_size / 1000:.0f} kB")


def pictures(driver):
    until = lambda what: WebDriverWait(driver, WAIT, 0.3).until(lambda _: what())
    js = driver.execute_script
    until(lambda: js(BUTTON, "compose")).click()
    time.sleep(1)
    for name, value in dict(seconds="16", chords="C G Am F", tempo="96", form="AABA", seed="3").items():
        js(FIELD, name, value)
    until(lambda: js(BUTTON, "run")).click()
    until(lambda: js(MADE))
    shot(driver, "studio", 1250)
    until(lambda: js(TAB, "Live")).click()
    until(lambda: js(BUTTON, "Play")).click()
    until(lambda: js(BARS) > 2)
    shot(driver, "live", 690)


def main():
    port = free_port()
    words = [sys.executable, "-m", "msanii.app", "app", "--no-browser", "--port", str(port)]
    server, driver = subprocess.Popen(words), None
    try:
        until = time.monotonic() + WAIT
        while not answers(port) and server.poll() is None and time.monotonic() < until: time.sleep(0.5)
        options = webdriver.ChromeOptions()
        for flag in [*FLAGS.split(), f"--user-data-dir={tempfile.mkdtemp()}"]: options.add_argument(flag)
        options.binary_location = shutil.which("chromium") or shutil.which("google-chrome")
        driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        driver.set_window_size(1180, 1250)
        driver.get(f"http://127.0.0.1:{port}")
        pictures(driver)
    finally:
        if driver: driver.quit()
        server.terminate()
        server.wait(30)


if __name__ == "__main__": main()
