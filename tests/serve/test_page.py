"""The page at ``/`` in a headless Chromium."""

import json
import shutil
import time
import wave

import numpy as np
import onnx
import pytest
from sardonyx.tests.serve import models

pytest.importorskip("selenium", reason="selenium is not installed")
pytest.importorskip("starlette", reason="the extra 'serve' is not installed")
BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if not (BROWSER and DRIVER):
    pytest.skip("chromium and chromedriver are not installed", allow_module_level=True)

IMAGE = models.made(
    """image (float[N, 3, 8, 8] pixels) => (float[N, 6] scores)
    <float[3, 6] w = {1,0,0,0.5,0.25,0.1, 0,1,0,0.5,0.25,0.1, 0,0,1,0.5,0.25,0.1}> {
        means = ReduceMean <axes = [2, 3], keepdims = 0> (pixels)
        scores = MatMul(means, w)
    }"""
)
SOUND = models.made(
    """sound (float[N, S] wave, int64 sr) => (float[N] loudness, int64 rate) {
        loud = Abs(wave)
        loudness = ReduceMax <axes = [1], keepdims = 0> (loud)
        rate = Identity(sr)
    }"""
)
TEXT = models.made(
    """text (int64[N, T] input_ids, int64[N, T] attention_mask) => (int64[N, T] y) {
        y = Add(input_ids, attention_mask)
    }"""
)
TOKENIZER = {
    "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
    "normalizer": None, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None,
    "decoder": None,
    "model": {"type": "WordLevel", "vocab": {"good": 41, "day": 7, "?": 0}, "unk_token": "?"},
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    for name, model in (("image", IMAGE), ("sound", SOUND), ("text", TEXT)):
        (folder / name).mkdir()
        onnx.save(model, folder / name / "model.onnx")
    (folder / "image" / "labels.txt").write_text("red\ngreen\nblue\nhalf\nquarter\n<b>tenth</b>\n")
    (folder / "text" / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    (folder / "broken.onnx").write_bytes(b"<script>alert(1)</script>")
    return folder


@pytest.fixture(scope="module")
def page(folder):
    from sardonyx.tests.serve.serving import Serving
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for each in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(each)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    server = Serving(folder, "--max-batch", "4", "--threads", "1").wait()
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    try:
        driver.set_window_size(900, 900)
        driver.get(f"http://{server.address}/")
        driver.server = server
        wait(driver, lambda: len(driver.find_elements("tag name", "details")) >= 3)
        yield driver
    finally:
        driver.quit()
        server.stop()


def wait(driver, ready, seconds=20):
    until = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < until, driver.find_element("tag name", "body").text
        time.sleep(0.05)
    return found


def card(page, name):
    for each in page.find_elements("tag name", "article"):
        if each.find_element("tag name", "h2").text == name:
            page.execute_script("arguments[0].querySelector('details').open = true", each)
            return each
    raise AssertionError(f"no card of {name}")


def tab(found, name):
    next(
        each for each in found.find_elements("css selector", ".tabs button") if each.text == name
    ).click()


def run(page, found):
    found.find_element("css selector", "button.run").click()
    return wait(
        page,
        lambda: [
            each.text
            for each in found.find_elements("css selector", "pre, .rank, p.error")
            if each.text
        ],
    )


def test_models_and_reasons_are_shown(page):
    text = page.find_element("tag name", "main").text
    for each in ("image", "pixels", "FP32", "[?, 3, 8, 8]", "sound", "text", "broken"):
        assert each in text
    assert "unavailable" in text
    assert page.title == "sardonyx serve"


def test_an_image_is_classified(page, tmp_path):
    from PIL import Image

    file = tmp_path / "green.png"
    Image.new("RGB", (30, 20), (51, 255, 0)).save(file)
    found = card(page, "image")
    tab(found, "Image")
    found.find_element("css selector", "input[type=file]").send_keys(str(file))
    rows = run(page, found)
    assert rows[0].split() == ["green", "1"]
    assert rows[1].split() == ["half", "0.6"]
    assert not any("tenth" in row for row in rows[:4])


def test_a_sound_is_heard(page, tmp_path):
    file = tmp_path / "tone.wav"
    samples = (0.5 * 32767 * np.sin(np.arange(16000) / 10)).astype("<i2")
    with wave.open(str(file), "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(16000)
        writer.writeframes(samples.tobytes())
    found = card(page, "sound")
    tab(found, "Audio")
    found.find_element("css selector", "input[type=file]").send_keys(str(file))
    loudness, rate = run(page, found)
    assert abs(float(loudness) - 0.5) < 0.01
    assert rate == "16000"


def test_a_text_is_read(page):
    found = card(page, "text")
    tab(found, "Text")
    found.find_element("tag name", "textarea").send_keys("good day good")
    assert run(page, found) == ["42, 8, 42"]


def test_json_is_answered_and_its_faults_are_told(page):
    found = card(page, "text")
    tab(found, "JSON")
    area = found.find_element("tag name", "textarea")
    assert json.loads(area.get_property("value"))[0]["name"] == "input_ids"
    assert run(page, found) == ["0"]
    area.clear()
    area.send_keys("[{]")
    found.find_element("css selector", "button.run").click()
    wait(page, lambda: "no valid JSON" in found.text)
    area.clear()
    area.send_keys("[]")
    found.find_element("css selector", "button.run").click()
    wait(page, lambda: "inputs missing" in found.text)


def test_latencies_are_live(page):
    found = card(page, "sound")

    def count():
        # At once: the page replaces these elements each second.
        names, values = page.execute_script(
            "return ['dt', 'dd'].map(tag => [...arguments[0].querySelectorAll(tag)]"
            ".map(each => each.textContent))",
            found,
        )
        return dict(zip(names, values, strict=True))

    before = int(count()["answered in all"])
    for _ in range(10):
        inputs = {"wave": np.zeros((1, 10), np.float32), "sr": np.array(1)}
        assert page.server.infer("sound", inputs)[0] == 200
    wait(page, lambda: int(count()["answered in all"]) == before + 10)
    figures = count()
    assert float(figures["requests a second"]) > 0
    assert "ms" in figures["median"]
    heights = "return [...arguments[0].querySelectorAll('.bars div')].map(bar => bar.offsetHeight)"
    assert max(page.execute_script(heights, found)) > 20


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_light_and_dark(page, scheme):
    emulate = {"media": "screen", "features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", emulate)
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True},
    )
    try:
        wide, inner = page.execute_script(
            "return [document.documentElement.scrollWidth, window.innerWidth]"
        )
        assert wide <= 360 and inner == 360
        style = "getComputedStyle(document.body)"
        ground, ink = page.execute_script(f"return [{style}.backgroundColor, {style}.color]")
        light = [sum(map(int, each[4:-1].split(","))) for each in (ground, ink)]
        assert (light[0] > light[1]) == (scheme == "light")
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_nothing_is_asked_of_others_and_nothing_fails(page):
    """Last: all requests that the browser has made, and all it has complained of."""
    asked = set()
    for entry in page.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked.add(message["params"]["request"]["url"])
    own = f"http://{page.server.address}/"
    assert all(url.startswith((own, "data:", "blob:")) for url in asked), asked
    severe = [each for each in page.get_log("browser") if each["level"] == "SEVERE"]
    assert all("400 (Bad Request)" in each["message"] for each in severe), severe
