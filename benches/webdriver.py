"""A headless Chromium, driven through chromedriver."""

import base64
import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request



class Browser:
    def __init__(self):
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        port = next(found[1] for line in self.driver.stdout if (found := re.search(r"successfully on port (\d+)", line)))
        self.at = f"http://127.0.0.1:{port}"
        options = {"args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,900", "--hide-scrollbars"]}
        wanted = {"alwaysMatch": {"goog:chromeOptions": options}}
        self.at += "/session/" + self.call("/session", {"capabilities": wanted})["sessionId"]

    def call(self, path, body):
        request = urllib.request.Request(self.at + path, json.dumps(body).encode(), {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as err:
            sys.exit(f"{path}: {err.read().decode()[:500]}")

    def go(self, url):
        self.call("/url", {"url": url})

    def js(self, script):
        return self.call("/execute/sync", {"script": script, "args": []})

    def press(self, key):
        keys = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self.call("/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": keys}]})

    def until(self, script, seconds=120):
        started = time.monotonic()
        while not (found := self.js(f"return {script}")):
            if time.monotonic() - started > seconds:
                sys.exit(f"waited in vain for {script}")
            time.sleep(0.01)
        return found

    def look(self, width, height, theme):
        """The size of the window, and whether the page is light or dark."""
        features = [{"name": "prefers-color-scheme", "value": theme}]
        self.devtools("Emulation.setEmulatedMedia", {"features": features})
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.devtools("Emulation.setDeviceMetricsOverride", size)

    def devtools(self, command, parameters):
        return self.call("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def picture(self):
        """A PNG file of what is shown."""
        return base64.b64decode(self.devtools("Page.captureScreenshot", {"format": "png"})["data"])

    def end(self):
        self.driver.kill()
