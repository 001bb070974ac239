"""Takes the pictures of the review page in docs/review/, on the demo's store.

    cp -r target/demo /tmp/shown && python tools/review_screenshots.py PROGRAM /tmp/shown docs/review

Needs chromedriver and Pillow.
"""

import io
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "benches"))

from PIL import Image
from webdriver import Browser

SIZES = {"wide": (1280, 800), "narrow": (400, 800)}
READY = "document.readyState === 'complete' && [...document.images].every((it) => it.loading === 'lazy' || it.complete)"
VIEWS = {
    "queue": "queue?head=fine&kind=uncertain&at=3",
    "grid": "grid?head=fine&class=starfish",
    "image": "image?image=007.png&head=fine&mask=30",
    "adding": "image?image=007.png&head=fine",
    "classes": "classes?set=groups",
    "heads": "heads?head=fine&other=coarse",
    "sql": "sql?sql=SELECT%20image_id%2C%20extractor_id%2C%20mask_index%2C%20class%2C%20score%20FROM%20predictions%20WHERE%20kept%20ORDER%20BY%20score%20DESC",
}


def click(browser, shares):
    """Holds the key that adds a mask, and clicks places of the photo, given as shares of its width and height."""
    browser.call("/actions", {"actions": [{"type": "key", "id": "keys", "actions": [{"type": "keyDown", "value": "a"}]}]})
    left, top, width, height = browser.js("const box = document.querySelector('#photo').getBoundingClientRect(); return [box.x, box.y, box.width, box.height]")
    for x, y in shares:
        steps = [{"type": "pointerMove", "duration": 20, "x": round(left + width * x), "y": round(top + height * y)}]
        steps += [{"type": kind, "button": 0} for kind in ("pointerDown", "pointerUp")]
        browser.call("/actions", {"actions": [{"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": steps}]})
        browser.until("/predicted IoU/.test(document.querySelector('#why').innerText)")
    browser.call("/actions", {"actions": [{"type": "key", "id": "keys", "actions": [{"type": "keyUp", "value": "a"}]}]})


def main(program, demo, directory):
    command = [program, "--store", f"{demo}/store", "review", "--reviewer", "anna", "--head", "fine", "--checkpoint", f"{demo}/sam_demo.safetensors"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    url = server.stdout.readline().strip()
    browser, out = Browser(), pathlib.Path(directory)
    out.mkdir(parents=True, exist_ok=True)
    try:
        for theme in ("light", "dark"):
            for size, (width, height) in SIZES.items():
                browser.look(width, height, theme)
                browser.go(url)
                for view, path in VIEWS.items():
                    browser.go(f"{url.split('/?')[0]}/{path}")
                    time.sleep(1.5)
                    browser.until(READY)
                    if view == "grid":
                        browser.js("for (const n of [2, 7]) document.querySelector(`[data-place='${n}']`)?.dispatchEvent(new PointerEvent('pointerdown', { bubbles: true }))")
                    if view == "adding":
                        click(browser, [(0.5, 0.45), (0.52, 0.3)])
                    picture = Image.open(io.BytesIO(browser.picture())).convert("RGB")
                    picture.save(out / f"{view}-{size}-{theme}.webp", quality=82, method=6)
    finally:
        browser.end()
        server.kill()


main(*sys.argv[1:])
