"""The SQL shell on a terminal: completion, lines that go on, Ctrl-C and Ctrl-D, history."""

from __future__ import annotations

import os
import pathlib
import re
import select
import subprocess
import sys
import time

import pytest

pty = pytest.importorskip("pty")


class Terminal:
    """A shell on a pseudo-terminal."""

    def __init__(self, store, state: pathlib.Path):
        self.end, inner = pty.openpty()
        environment = {**os.environ, "XDG_STATE_HOME": str(state), "TERM": "xterm", "COLUMNS": "120"}
        command = [sys.executable, "-m", "grainstore", "--store", store.path, "sql"]
        self.process = subprocess.Popen(
            command, stdin=inner, stdout=inner, stderr=inner, env=environment, start_new_session=True, close_fds=True
        )
        os.close(inner)
        self.seen = ""

    def send(self, text: str) -> None:
        os.write(self.end, text.encode())

    def expect(self, pattern: str, seconds: float = 60) -> str:
        """Waits until what was shown since the last call matches."""
        until = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.seen)
            if found:
                self.seen = self.seen[found.end() :]
                return found[0]
            left = until - time.monotonic()
            assert left > 0, f"{pattern!r} is not in {self.seen!r}"
            if select.select([self.end], [], [], left)[0]:
                try:
                    self.seen += os.read(self.end, 65536).decode(errors="replace")
                except OSError:
                    left = 0
                    assert re.search(pattern, self.seen), f"the shell ended: {self.seen!r}"

    def leave(self) -> int:
        """Presses Ctrl-D when the shell waits for a line."""
        self.send("\r")
        self.expect(r"grainstore> (?!.*grainstore> )")
        until = time.monotonic() + 60
        while self.process.poll() is None:
            assert time.monotonic() < until, "the shell does not end"
            self.send("\x04")
            time.sleep(0.2)
        return self.process.returncode


@pytest.fixture
def terminal(store, tmp_path):
    shell = Terminal(store, tmp_path)
    yield shell
    shell.process.kill()
    shell.process.wait()
    os.close(shell.end)


def test_names_are_completed_and_statements_go_on(terminal):
    terminal.expect("grainstore> ")
    terminal.send("SELECT count(*) AS n FROM image_feat\t")
    terminal.expect("image_features")
    terminal.send("\x15SELECT 40 +\r")
    terminal.send("2 AS answer;\r")
    terminal.expect(r"\| 42 ")
    terminal.expect("grainstore> ")
    terminal.send("\\timing\r")
    terminal.expect("timing is on")
    terminal.send("SELECT 1;\r")
    terminal.expect(r"\d\.\d\d\d s")
    assert terminal.leave() == 0


def test_an_error_does_not_end_the_shell(terminal):
    terminal.expect("grainstore> ")
    terminal.send("SELECT * FROM nothing;\r")
    terminal.expect("error: table 'nothing' not found")
    terminal.expect("grainstore> ")
    terminal.send("\\x\r")
    terminal.expect("is not a command of the shell")
    terminal.expect("grainstore> ")
    terminal.send("SELECT 1 + 1 AS two;\r")
    terminal.expect(r"\| 2 ")
    assert terminal.leave() == 0


def test_ctrl_c_ends_the_query_and_not_the_shell(terminal):
    terminal.expect("grainstore> ")
    terminal.send("SELECT sum(value % 7) FROM generate_series(1, 100000000000);\r")
    time.sleep(2)
    # In a session of its own there is no controlling terminal that would turn the key into a signal.
    os.kill(terminal.process.pid, 2)
    terminal.expect("the query was ended")
    terminal.expect("grainstore> ")
    terminal.send("SELECT 6 * 7 AS answer;\r")
    terminal.expect(r"\| 42 ")
    terminal.expect("grainstore> ")
    # While a line is typed, Ctrl-C drops it.
    terminal.send("SELECT 'dropped\x03")
    terminal.expect("grainstore> ")
    terminal.send("SELECT 'kept' AS x;\r")
    terminal.expect(r"\| kept ")
    assert terminal.leave() == 0


def test_statements_are_remembered(store, tmp_path):
    for round in range(2):
        terminal = Terminal(store, tmp_path)
        terminal.expect("grainstore> ")
        terminal.send("SELECT 'remember me' AS x;\r" if round == 0 else "\x1b[A\r")
        terminal.expect(r"\| remember me ")
        assert terminal.leave() == 0
        os.close(terminal.end)
    assert "remember me" in (tmp_path / "grainstore" / "sql_history").read_text()
