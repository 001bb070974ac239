"""The package as a program, and what ends it."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

import grainstore
from grainstore import _lib

PYTHON = pathlib.Path(__file__).parents[1]


def program(*words, **more):
    command = [sys.executable, "-m", "grainstore", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, **more)


def test_the_program_is_in_the_package(store):
    done = program("--store", store.path, "sql", "SELECT count(*) AS n FROM images", "--format", "csv")
    assert (done.returncode, done.stdout) == (0, "n\n22\n")
    done = program("--store", store.path, "annotate", "--head", "none")
    assert done.returncode == 1
    assert "hint:" in done.stderr
    assert program("--version").stdout == f"grainstore {grainstore.__version__}\n"


def test_the_demo_runs_the_program_that_it_is_in(tmp_path):
    done = program("demo", "--only-scenes", "--where", tmp_path / "demo", "--train-images", 1, "--test-images", 1)
    assert done.returncode == 0, done.stderr


def test_methods_are_the_commands_of_the_program():
    done = subprocess.run([sys.executable, PYTHON / "tools" / "make_commands.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def method_of(words):
    name = words.removeprefix("store ").replace(" ", "_").replace("-", "_")
    return {"eval": "evaluate"}.get(name, name)


def test_every_command_is_there_or_left_out_on_purpose():
    commands = {" ".join(command["words"]) for command in json.loads(_lib.commands())}
    assert {"extract", "ingest coco", "store index create", "heads zero-shot"} <= commands
    assert callable(grainstore.Store.heads_zero_shot)
    left_out = {"demo", "init", "review", "scheduler", "executor", "completions", "man"}
    missing = [words for words in commands if not hasattr(grainstore.Store, method_of(words))]
    assert set(missing) == left_out


def interrupt_after(seconds):
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    return timer


def test_ctrl_c_ends_training_and_nothing_is_stored(store, tmp_path):
    before = len(store.heads_list())
    started = time.monotonic()
    timer = interrupt_after(2)
    with pytest.raises(KeyboardInterrupt):
        store.train("endless", "kinds", epochs=100_000)
    timer.join()
    assert time.monotonic() - started < 30
    assert len(store.heads_list()) == before
    # The thread that trained has ended, too: this process is idle.
    time.sleep(2)
    used = time.process_time()
    time.sleep(1)
    assert time.process_time() - used < 0.5


def test_ctrl_c_ends_a_query(store):
    timer = interrupt_after(1)
    with pytest.raises(KeyboardInterrupt):
        store.sql("SELECT sum(value % 7) FROM generate_series(1, 100000000000)")
    timer.join()
    assert store.sql("SELECT 1 AS one")["one"].to_pylist() == [1]
