"""Takes the pictures of the review page in docs/review/, on the demo's store.

    cp -r target/demo/store /tmp/shown && python tools/review_screenshots.py PROGRAM /tmp/shown docs/review

It labels some masks of the store. Needs chromedriver and Pillow.
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
    "classes": "classes?set=groups",
    "heads": "heads?head=fine&other=coarse",
    "sql": "sql?sql=SELECT%20image_id%2C%20extractor_id%2C%20mask_index%2C%20class%2C%20score%20FROM%20predictions%20WHERE%20kept%20ORDER%20BY%20score%20DESC",
}


def main(program, store, directory):
    server = subprocess.Popen([program, "--store", store, "review", "--reviewer", "anna", "--head", "fine"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
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
                    picture = Image.open(io.BytesIO(browser.picture())).convert("RGB")
                    picture.save(out / f"{view}-{size}-{theme}.webp", quality=82, method=6)
    finally:
        browser.end()
        server.kill()


main(*sys.argv[1:])
