"""A short study of the review page: an oracle labels 200 masks of one half of val through the page's own HTTP interface, one
answer a request, and the metrics of the other half are taken before and after.

    python review_study.py PROGRAM STORE DIRECTORY SEEDS CLASSES POOL TEST [TRAIN OPTION...]

POOL and TEST are conditions on images, as for review.py, whose training and evaluation these are.
"""

import http.cookiejar
import json
import statistics
import subprocess
import sys
import time
import urllib.request

from markdown import table
from review import Reviewer

COUNT = 200


class Page:
    """The page of a store, as a program sees it."""

    def __init__(self, program, store):
        command = [program, "--store", store, "review", "--reviewer", "oracle"]
        self.server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        url = self.server.stdout.readline().strip()
        self.origin = url.split("/?")[0]
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
        self.opener.open(url).read()

    def ask(self, path, body=None):
        headers = {"content-type": "application/json", "origin": self.origin}
        data = None if body is None else json.dumps(body).encode()
        with self.opener.open(urllib.request.Request(self.origin + path, data, headers)) as answer:
            return json.load(answer)

    def end(self):
        self.server.terminate()
        self.server.wait()


class ThroughPage(Reviewer):
    def answer(self, queue, seed):
        """Answers COUNT masks of a queue; gives back how long an answer took to be on the disk, in ms."""
        page, took = Page(self.program, str(self.store)), []
        where = urllib.request.quote(self.pool)
        found = page.ask(f"/api/queue?kind={queue}&head=r&count={COUNT}&seed={seed}&where={where}")
        for mask in found["masks"]:
            label = self.oracle().get((mask["image_id"], mask["mask_index"]))
            said = {key: mask[key] for key in ("extractor_id", "image_id", "mask_index")}
            said |= {"verdict": "bad mask"} if label is None else {"verdict": "is", "label": label or None}
            started = time.perf_counter()
            page.ask("/api/labels", {"answers": [said]})
            took.append((time.perf_counter() - started) * 1000)
        page.end()
        return took


def main(program, store, directory, seeds, classes, pool, test, *options):
    reviewer = ThroughPage(program, store, directory, "study", classes, pool, test, list(options))
    reviewer.oracle()
    took, lines = [], []
    for queue in ("random", "dropout"):
        before, after = [], []
        for seed in range(int(seeds)):
            reviewer.anew()
            before.append(reviewer.train(seed))
            took += reviewer.answer(queue, seed)
            after.append(reviewer.train(seed))
        for metric in ("miou", "ap50"):
            values = [[it[metric] for it in when] for when in (before, after)]
            told = [f"{statistics.mean(it):.3f}" + (f" ± {statistics.stdev(it):.3f}" if len(it) > 1 else "") for it in values]
            lines.append([queue, metric, *told])
    cuts = statistics.quantiles(took, n=20, method="inclusive")
    print(f"{len(took)} answers; an answer was on the disk after {cuts[9]:.1f} ms (median), {cuts[18]:.1f} ms (95 %).\n")
    table(["queue", "metric", "before", f"after {COUNT} answers"], lines)


main(*sys.argv[1:])
