"""Writes grainstore/_commands.py, the methods that are commands of the program, from the program's own description of them.

python python/tools/make_commands.py           # writes the file
python python/tools/make_commands.py --check   # fails if it is not as it would be written
"""

from __future__ import annotations

import json
import pathlib
import shlex
import sys
import textwrap
from typing import Any

from grainstore import _lib
from grainstore._run import argument_name

FILE = pathlib.Path(__file__).parents[1] / "grainstore" / "_commands.py"

Described = dict[str, Any]

# Written by hand in store.py and __init__.py; or serving until they are stopped, which is for terminals.
LEFT_OUT = {"demo", "init", "sql", "query", "show", "review", "scheduler", "executor", "completions", "man"}

NAMES = {"eval": "evaluate"}

HEADER = '''"""The commands of the program as methods. Written by make_commands.py; do not edit it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Literal

'''

TYPES = {"integer": "int", "number": "float", "path": "str | os.PathLike[str]", "text": "str"}


def python_name(words: list[str]) -> str:
    """The name of a command's method."""
    rest = words[1:] if words[0] == "store" else words
    name = "_".join(rest).replace("-", "_")
    return NAMES.get(name, name)


def name_of(argument: Described) -> str:
    return argument_name(argument["name"])


def type_of(argument: Described) -> str:
    if argument["kind"] == "flag":
        return "bool"
    one = TYPES[argument["kind"]]
    if argument["choices"]:
        one = f"Literal[{', '.join(json.dumps(it) for it in argument['choices'])}]"
    if not argument["is_many"]:
        return one
    if "=" in (argument["value"] or ""):
        return f"Mapping[str, Any] | Iterable[{one}]"
    return f"{one} | Iterable[{one}]"


def sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if text.endswith((".", "]", ")")) else f"{text}."


def wrapped(text: str, indent: str, after: str) -> list[str]:
    return textwrap.wrap(text, 120, initial_indent=indent, subsequent_indent=after, break_long_words=False, break_on_hyphens=False)


def example(line: str, command: Described) -> str | None:
    """A line of the command's help as a call; None if it does more than that."""
    line = line.split("  #")[0].strip()
    if not line.startswith("grainstore ") or any(sign in line for sign in "|$") or " > " in line:
        return None
    parts = shlex.split(line)
    words = ["grainstore", *command["words"]]
    if parts[: len(words)] != words:
        return None
    options = {it["name"]: it for it in command["arguments"] if not it["is_positional"]}
    options |= {it["short"]: it for it in command["arguments"] if it["short"]}
    positional = [it for it in command["arguments"] if it["is_positional"]]
    given: list[tuple[Described, list[str]]] = []
    rest = parts[len(words) :]
    while rest:
        part = rest.pop(0)
        if not part.startswith("-") or part == "-":
            if not positional:
                return None
            argument = positional[0]
            if not argument["is_many"]:
                positional.pop(0)
            values = [part]
        else:
            name, _, value = part.lstrip("-").partition("=")
            if name not in options:
                return None
            argument = options[name]
            values = [] if argument["kind"] == "flag" else [value or rest.pop(0)]
        known = [it for it in given if it[0] is argument]
        if known:
            known[0][1].extend(values)
        else:
            given.append((argument, values))
    return f">>> store.{python_name(command['words'])}({', '.join(shown(*it) for it in given)})"


def shown(argument: Described, values: list[str]) -> str:
    name = name_of(argument)
    if argument["kind"] == "flag":
        return f"{name}=True"
    if argument["is_many"] and "=" in (argument["value"] or ""):
        pairs = dict(it.split("=", 1) for it in values)
        return f"{name}={json.dumps(pairs, ensure_ascii=False)}"
    if argument["is_many"] and len(values) == 1 and "," in values[0]:
        values = values[0].split(",")
    literal = [it if argument["kind"] in ("integer", "number") else json.dumps(it, ensure_ascii=False) for it in values]
    value = literal[0] if len(literal) == 1 else f"[{', '.join(literal)}]"
    return value if argument["is_positional"] else f"{name}={value}"


def docstring(command: Described, indent: str) -> list[str]:
    paragraphs = command["about"].split("\n\n")
    lines: list[str] = []
    for paragraph in paragraphs:
        lines += wrapped(sentence(paragraph), indent, indent) + [""]
    if command["arguments"]:
        lines.append(f"{indent}Args:")
        for argument in command["arguments"]:
            help = sentence(argument["help"])
            if any(argument["default"]) and argument["kind"] != "flag":
                help = f"{help[:-1] if help.endswith('.') else help}; {', '.join(argument['default'])} by default."
            lines += wrapped(f"{name_of(argument)}: {help}", f"{indent}    ", f"{indent}        ")
        lines.append("")
    text = command["after"].replace("\\\n", " ")
    calls = [example(line, command) for line in text.splitlines()]
    lines += [f"{indent}{call}" for call in calls if call]
    while not lines[-1]:
        lines.pop()
    lines[0] = f'{indent}"""{lines[0].strip()}'
    return [*(line.replace("\\", "\\\\") for line in lines), f'{indent}"""']


def method(command: Described) -> str:
    indent = "    "
    arguments = command["arguments"]
    first = [it for it in arguments if it["is_positional"]]
    required = [it for it in arguments if not it["is_positional"] and it["is_required"]]
    others = [it for it in arguments if not it["is_positional"] and not it["is_required"]]
    # An argument that may be left out cannot come before one that may not.
    signature = [f"{name_of(it)}: {type_of(it)}" for it in first + required if it["is_required"]]
    signature += [f"{name_of(it)}: {type_of(it)} | None = None" for it in first if not it["is_required"]]
    rest = [
        f"{name_of(it)}: bool = False" if it["kind"] == "flag" else f"{name_of(it)}: {type_of(it)} | None = None"
        for it in others
    ]
    signature += ["*", *rest] if rest else []
    signature = ["self", *signature]
    lines = [f"{indent}def {python_name(command['words'])}("]
    lines += [f"{indent}    {it}," for it in signature]
    lines.append(f"{indent}) -> Any:")
    lines += docstring(command, f"{indent}    ")
    positional = ", ".join(f'("{name_of(it)}", {name_of(it)})' for it in first)
    options = ", ".join(f'"{it["name"]}": {name_of(it)}' for it in required + others)
    call = f'"{" ".join(command["words"])}", [{positional}], {{{options}}}'
    lines.append(f"{indent}    return self._run({call})")
    return "\n".join(lines)


def main() -> int:
    commands = [it for it in json.loads(_lib.commands()) if it["words"][0] not in LEFT_OUT]
    names = [python_name(it["words"]) for it in commands]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise SystemExit(f"two commands have the name {twice}")
    methods = [method(it) for it in commands]
    text = HEADER
    text += 'class Commands:\n    """Commands that read or write a store."""\n\n'
    text += (
        "    def _run(self, words: str, positional: Iterable[tuple[str, Any]] = (), "
        "options: Mapping[str, Any] | None = None) -> Any:\n        raise NotImplementedError\n\n"
    )
    text += "\n\n".join(methods) + "\n"
    if "--check" in sys.argv[1:]:
        if FILE.read_text() != text:
            raise SystemExit(f"{FILE} is not up to date: run {__file__}")
        return 0
    FILE.write_text(text)
    print(f"{FILE}: {len(methods)} methods")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
