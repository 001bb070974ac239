"""Drives the review page in Chromium and measures how long a person would wait.

    python review_page.py PROGRAM DIRECTORY MASKS [KEYS]

DIRECTORY has the store that the bench 'review_page' made. Prints a JSON object. Needs chromedriver.
"""

import json
import pathlib
import re
import statistics
import subprocess
import sys
import time

from webdriver import Browser

ENTER = "\ue007"
# Notes when a key comes and when the next mask is on the canvas; a mask is painted in the frame after its place is told.
WATCH = """
window.waits = []; window.pressed = 0;
addEventListener('keydown', () => { window.pressed = performance.now(); }, true);
new MutationObserver(() => {
  const pressed = window.pressed;
  if (!pressed || document.querySelector('#photo').dataset.shown === undefined) return;
  window.pressed = 0;
  requestAnimationFrame(() => setTimeout(() => window.waits.push(performance.now() - pressed)));
}).observe(document.querySelector('#photo'), { attributes: true, attributeFilter: ['data-shown'] });
"""


def spread(values):
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": cuts[49], "p95": cuts[94], "max": max(values)}


def memory(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return {name: int(re.search(rf"{name}:\s+(\d+)", status)[1]) / 1024 for name in ("VmRSS", "VmHWM")}


def keys(browser, origin, kind, count):
    started = time.monotonic()
    browser.go(f"{origin}/queue?kind={kind}")
    browser.until("document.querySelector('#photo').dataset.shown === '0'")
    opened = time.monotonic() - started
    browser.js(WATCH)
    for n in range(count):
        browser.press("123x"[n % 4])
        browser.until(f"document.querySelector('#photo').dataset.shown === '{n + 1}'")
    waits = browser.until(f"window.waits.length === {count} && window.waits")
    browser.until(f"document.querySelector('#saved').textContent === '{count} saved'")
    saves = browser.js("return performance.getEntriesByType('resource').filter((it) => it.name.endsWith('/api/labels')).map((it) => it.duration)")
    return {"opened_s": opened, "next_ms": spread(waits), "saved_ms": spread(saves)}


def grid(browser, origin, pages):
    browser.go(f"{origin}/grid?class=class03")
    loaded = "[...document.querySelectorAll('.grid img')].length === 60 && [...document.querySelectorAll('.grid img')].every((it) => it.complete)"
    ready = "!document.querySelector('#accept').disabled"
    first = "document.querySelector('.grid img')?.src"
    browser.until(f"{loaded} && {ready}")
    started = time.monotonic()
    for n in range(pages):
        before = browser.js(f"return {first}")
        browser.js("document.activeElement.blur()")
        browser.press(ENTER)
        browser.until(f"document.querySelector('#saved').textContent === '{60 * (n + 1)} saved'")
        browser.until(f"{first} !== '{before}' && {loaded} && {ready}")
    return {"pages": pages, "seconds_a_page": (time.monotonic() - started) / pages}


def asked(browser, path, body=None):
    """What the page's own server answers."""
    how = {} if body is None else {"method": "POST", "headers": {"content-type": "application/json"}, "body": json.dumps(body)}
    script = f"const done = arguments[0]; fetch('{path}', {json.dumps(how)}).then((it) => it.json()).then(done)"
    return browser.call("/execute/async", {"script": script, "args": []})


def train(browser, origin):
    """Trains a linear head on the labelled masks; then it has predicted all masks."""
    browser.go(f"{origin}/heads")
    asked(browser, "/api/train", {"name": "bench", "classes": "twenty", "loss": "linear"})
    phases, started = {}, time.monotonic()
    while (job := asked(browser, "/api/job"))["state"] == "running":
        phases.setdefault(job["phase"], time.monotonic() - started)
        time.sleep(0.1)
    return {"seconds": job["seconds"], "result": job["result"] or job["error"], "phases_began_s": phases}


def main(program, directory, masks, count=300):
    server = subprocess.Popen([program, "--store", f"{directory}/store", "review", "--reviewer", "bench"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    url = server.stdout.readline().strip()
    browser = Browser()
    try:
        browser.go(url)
        origin = url.split("/?")[0]
        found = {"masks": int(masks), "unlabelled": keys(browser, origin, "unlabelled", int(count))}
        sizes = [len(asset.read_bytes()) for asset in pathlib.Path("assets/web").iterdir()]
        found["scripts_and_styles_kb"] = sum(sizes) / 1000
        print(json.dumps(found), file=sys.stderr)
        found["train"] = train(browser, origin)
        print(json.dumps(found), file=sys.stderr)
        found["uncertain"] = keys(browser, origin, "uncertain", int(count))
        print(json.dumps(found), file=sys.stderr)
        # Of a thousand masks, no class has a page of sixty.
        found["grid"] = grid(browser, origin, 5) if int(masks) >= 20_000 else None
        found["memory_mb"] = memory(server.pid)
        print(json.dumps(found))
    finally:
        browser.end()
        server.kill()


main(*sys.argv[1:])
