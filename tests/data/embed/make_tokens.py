#!/usr/bin/env python3
"""Makes tokens.json and tokens_ftfy.json with open_clip's tokenizer.

    python3 -m venv venv
    venv/bin/pip install torch==2.9.0 torchvision==0.24.0 open-clip-torch==3.3.0 timm==1.0.31 ftfy==6.3.1 \\
        numpy==2.4.6 pillow==11.3.0 safetensors==0.8.0
    venv/bin/python make_tokens.py [OUT]

Each file is an object of texts and their ids, start and end tokens included and padding not; texts too long
end with the end token at place 77, as open_clip cuts them.

    tokens.json       texts that need no more than curly quotes made straight and HTML's five named or
                      numbered entities (&amp; &lt; &gt; &quot; &#39;) replaced, twice over
    tokens_ftfy.json  texts that open_clip's ftfy (6.3.1) or full HTML unescaping reads in other ways too
"""

import json
import sys
from pathlib import Path

from open_clip.tokenizer import SimpleTokenizer

from common import HERE, report

VOC = """aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person
pottedplant sheep sofa train tvmonitor""".split()
COCO = """person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign,
parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, handbag,
tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, surfboard,
tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot,
hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop, mouse, remote,
keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear,
hair drier, toothbrush""".replace("\n", " ").split(", ")
ODD = [
    "", " ", "a", "!", "...", "?!?!", "CAT", "A Photo Of A Cat.", "iPhone 12 Pro", "1234567890", "3.14159", "2024-05-17",
    "50% off", "$9.99", "#hashtag @user", "c++ & c#", "a/b\\c", "snake_case_name", "kebab-case-name", "(round) [square] {curly}",
    "a  photo   of  spaces", "  leading and trailing  ", "tab\tbetween", "line\nbreak", "windows\r\nbreak", "no\u00a0break space",
    "don't can't won't it's we're they've I'll she'd I'm", "rock'n'roll", "'quoted'", '"double"', "DON'T SHOUT'S",
    "\u201cCurly\u201d \u2018quotes\u2019", "it\u2019s a dog\u2019s life", "fish &amp; chips", "&lt;b&gt;bold&lt;/b&gt;", "&quot;said&quot;",
    "&#39;apostrophe&#39;", "&amp;amp; twice", "&amp;lt;", "AT&T", "a & b", "caf\u00e9", "CAF\u00c9 \u00c9T\u00c9", "na\u00efve fa\u00e7ade",
    "\u00fcber stra\u00dfe", "\u00c5ngstr\u00f6m", "\u0130stanbul", "\u03b1\u03b2\u03b3 \u0394\u03a3\u03a9\u03a3", "\u043c\u043e\u0441\u043a\u0432\u0430", "\u732b\u306e\u5199\u771f", "\ud55c\uad6d\uc5b4", "\u4e2d\u6587\u3002", "\u0645\u0631\u062d\u0628\u0627",
    "\u0939\u093f\u0928\u094d\u0926\u0940", "\U0001f436", "a \U0001f436 and \U0001f431", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u2764\ufe0f", "\u00b2\u00b3 \u00bd \u2160", "\u0664\u0662", "\u2013 dash \u2014 dash",
    "ellipsis\u2026", "\u20ac100", "\u00b0C", "trademark\u2122 \u00ae \u00a9", "a\u200bb", "supercalifragilisticexpialidocious", "xqzjkvw",
    "word " * 100, "a photo of a " + "very " * 72 + "long cat", "a " * 75, "a " * 76, "antidisestablishmentarianism " * 20,
    # What only ftfy or the whole of HTML changes.
    "cafe\u0301", "\ufb01sh and \ufb02y", "\uff26\uff35\uff2c\uff2c \uff57\uff49\uff44\uff54\uff48", "caf\u00c3\u00a9", "it\u00e2\u20ac\u2122s", "&eacute;t&eacute;",
    "&copy; 2024", "&nbsp;space", "\u0132sselmeer", "soft\u00adhyphen", "\ufeffmark", "&AMP;", "&amp no semicolon", "\u2028line separator",
]


class Ids:
    def __init__(self, clean=None):
        self.tokenizer = SimpleTokenizer()
        if clean:
            self.tokenizer.clean_fn = clean

    def __call__(self, text):
        tokenizer = self.tokenizer
        ids = [tokenizer.sot_token_id, *tokenizer.encode(text), tokenizer.eot_token_id]
        if len(ids) > tokenizer.context_length:
            ids = [*ids[: tokenizer.context_length - 1], tokenizer.eot_token_id]
        padded = tokenizer(text)[0].tolist()
        assert padded == ids + [0] * (tokenizer.context_length - len(ids))
        return ids


def simple(text):
    """All of open_clip's cleaning that tokens.json may depend on."""
    text = text.translate(str.maketrans("\u2018\u2019\u201c\u201d", "''\"\""))
    for _ in range(2):
        for entity, character in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&#39;", "'"), ("&amp;", "&")]:
            text = text.replace(entity, character)
    return " ".join(text.split()).lower()


def main():
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    texts = [f"a photo of a {name}." for name in VOC]
    templates = ["a photo of a {}.", "a photo of the {}.", "itap of my {}.", "a bad photo of a {}.", "{}"]
    texts += [templates[i % len(templates)].format(name) for i, name in enumerate(COCO)]
    ids, simply_cleaned = Ids(), Ids(simple)
    files = {"tokens": {}, "tokens_ftfy": {}}
    for text in dict.fromkeys(texts + ODD):
        same = ids(text) == simply_cleaned(text)
        files["tokens" if same else "tokens_ftfy"][text] = ids(text)
    out.mkdir(parents=True, exist_ok=True)
    for name, entries in files.items():
        lines = [f"  {json.dumps(text)}: {json.dumps(found)}" for text, found in entries.items()]
        (out / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
        report(out / f"{name}.json")
        print(len(entries), "texts")


main()
