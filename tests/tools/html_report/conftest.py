"""Reports of a small trained network, and pages shown by a headless browser."""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import sardonyx
from sardonyx.tools.demo import DATA
from sardonyx.tools.html_report.collect import collect

FEEDS = {"pixels": np.ones((2, 1, 8, 8), np.float32)}


@pytest.fixture(scope="session")
def data():
    """What is collected of the network of the demo."""
    model = sardonyx.load(DATA / "digits.onnx")
    with sardonyx.Session(model, threads=1) as session:
        return collect(model, session, FEEDS, name="digits", path=str(DATA / "digits.onnx"), runs=3)


@pytest.fixture
def browse(tmp_path):
    """Show a page in a browser; returns its elements after a script has run."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium is installed")

    def show(page, script=""):
        before = (
            "<script>window.faults=[];"
            "addEventListener('error',(e)=>faults.push(e.message));</script>"
        )
        after = (
            "<script>addEventListener('load',async()=>{const answer={};"
            "const rest=(ms)=>new Promise((done)=>setTimeout(done,ms));"
            f"try{{{script}}}catch(fault){{faults.push(String(fault))}}"
            "const out=document.createElement('pre');out.id='answer';"
            "out.textContent=JSON.stringify({faults,...answer});document.body.append(out);});</script>"
        )
        file = tmp_path / "page.html"
        file.write_text(page.replace("<body>", "<body>" + before) + after, encoding="utf-8")
        done = subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             f"--user-data-dir={tmp_path / 'browser'}", "--window-size=1280,1000",
             "--virtual-time-budget=20000", "--dump-dom", file.as_uri()],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        found = re.search(r'<pre id="answer">(.*?)</pre>', done.stdout, re.DOTALL)
        assert found, done.stderr[-2000:]
        return done.stdout, json.loads(html.unescape(found[1]))

    return show
