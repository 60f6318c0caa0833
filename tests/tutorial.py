"""A reader of the tutorial, who makes the files of a page and types its commands.

A page has files (blocks with a title) and commands with what they print (blocks of ``console``).
In the printed text, ``…`` stands for anything, and a handle for another one, which later commands
use in its place. The reader has installed all packages before, so those commands are only read.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shlex
import signal
import subprocess
import textwrap
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from browser.rig import HERE as BROWSER
from programs import BIN, PATIENCE, environment
from served import wait_until_listening

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["PAGES", "Reader", "tabs_of"]

PAGES = Path(__file__).parents[1] / "docs" / "tutorial"
PORT = "8000"
"""The port on the pages, for which another one is used."""

_TAB = re.compile(r'^=== "(.+)"\n((?:(?: {4}.*)?\n)+)', re.MULTILINE)
_BLOCK = re.compile(r'^```(\w+)(?: title="(.+?)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_HANDLE = r"/20\d\d/\d\d/\d\d/[0-9a-f-]{36}"
_TOKEN = re.compile(f"(?P<handle>{_HANDLE})|(?P<lines>^…$)|(?P<words>…)", re.MULTILINE)
_PATTERNS = {"handle": f"({_HANDLE})", "lines": "(?s:.*)", "words": ".*"}
_SERVER = re.compile(
    r"(?:[A-Z_]+=\S+ )*(?:uvicorn|gunicorn|rex serve|flask .*run|python manage.py runserver)\b"
)
_STEP = re.compile(r"((?:[^\n]*\\\n)*[^\n]*)\n(.*)", re.DOTALL)
_S3 = "python -m rex.attach_demo.seaweedfs"
"""Its reader pastes what it prints."""
_QUIET = {"npm_config_update_notifier": "false"}
_END = "-- the command has ended --"
_READ_ONLY = ("python -m venv ", ". .venv/", "npm install ")
_REQUIREMENT = re.compile(r"([a-z-]+)(?:\[([a-z0-9,]+)\])?")


class Block(NamedTuple):
    """A block of a page."""

    language: str
    title: str
    text: str


def tabs_of(page: str) -> Sequence[str]:
    """Return the names of a page's tabs, or one empty name."""
    found = _TAB.findall((PAGES / page).read_text("utf-8"))
    return list(dict.fromkeys(name for name, _ in found)) or [""]


def _blocks(page: str, tab: str) -> Iterator[Block]:
    """Yield the blocks that a reader sees who chooses a tab."""

    def chosen(found: re.Match[str]) -> str:
        return textwrap.dedent(found[2]) if found[1] == tab else ""

    text = _TAB.sub(chosen, (PAGES / page).read_text("utf-8"))
    yield from (Block(*each) for each in _BLOCK.findall(text))


class Reader:
    """Walks through pages in a directory, with a shell."""

    def __init__(self, directory: Path, port: int, settings: Mapping[str, object]) -> None:
        self.directory = directory
        self.port = port
        self._settings = settings
        self.ran = 0
        """The number of blocks that were made or run."""
        self._handles: dict[str, str] = {}
        self._server: int | None = None
        modules = f"{BROWSER / 'uppy6/node_modules'}:{BROWSER / 'node_modules'}"
        programs = directory / "node_modules" / ".bin"
        programs.parent.mkdir()
        programs.symlink_to(BROWSER / "node_modules/.bin")
        (directory / ".curlrc").write_text("no-progress-meter\n")  # as on a terminal
        given = environment({"node_path": modules, "home": directory, **_QUIET})
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=directory,
            env={**given, "PATH": f"{BIN}:{given['PATH']}"},
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()
        self._shell.communicate()

    def read(self, page: str, tab: str = "") -> None:
        """Make the files of a page and type its commands, from the top to the bottom."""
        for block in _blocks(page, tab):
            if block.title:
                path = self.directory / block.title
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text.replace(PORT, str(self.port)), "utf-8")
            elif block.language == "console":
                self._type(block.text)
            else:
                continue
            self.ran += 1

    def _type(self, text: str) -> None:
        """Type the commands of a block, and compare what each prints."""
        for step in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, expected = _STEP.fullmatch(step).groups()  # type: ignore[union-attr]
            for there, here in self._handles.items():
                command = command.replace(there, here)
            command = command.replace(PORT, str(self.port))
            if command == _S3:
                for name, value in self._settings.items():
                    self._run(f"export {name.upper()}={value}")
            elif command.startswith("pip install "):
                _check_installed(shlex.split(command)[2:])
            elif _SERVER.match(command):
                self._serve(command)
            elif not command.startswith(_READ_ONLY):
                self._compare(command, expected, self._run(command))

    def _run(self, command: str) -> str:
        """Run a command until it ends; return what it printed."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        limit = threading.Timer(PATIENCE, self._kill)
        limit.start()
        self._shell.stdin.write(f"{command}\necho; echo '{_END}'\n")
        self._shell.stdin.flush()
        lines: list[str] = []
        for line in self._shell.stdout:
            if line == f"{_END}\n":
                limit.cancel()
                return "".join(lines).removesuffix("\n")
            lines.append(line)
        limit.cancel()
        raise AssertionError(f"the shell ended: {command}: {''.join(lines)}")

    def _serve(self, command: str) -> None:
        """Run a server in the background, in place of the one before."""
        self._stop_server()
        if str(self.port) not in command:
            command += f" {self.port}" if "runserver" in command else f" --port {self.port}"
        printed = self._run(f"{command} >server.log 2>&1 & echo $!")
        self._server = int(printed.splitlines()[-1])
        wait_until_listening(self.port)

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._shell.pid, signal.SIGKILL)

    def _stop_server(self) -> None:
        if self._server is not None:
            self._run(f"kill {self._server}; wait {self._server}")
            self._server = None

    def _compare(self, command: str, expected: str, printed: str) -> None:
        """Compare what a command printed, and note the handles in it."""
        pattern, handles, at = "", [], 0
        expected = expected.replace(PORT, str(self.port)).rstrip("\n")
        for token in _TOKEN.finditer(expected):
            pattern += re.escape(expected[at : token.start()])
            pattern += _PATTERNS[str(token.lastgroup)]
            at = token.end()
            if token.lastgroup == "handle":
                handles.append(token[0])
        printed = re.sub("[ \\r]+$", "", printed, flags=re.MULTILINE).rstrip("\n")
        found = re.fullmatch(pattern + re.escape(expected[at:]), printed)
        assert found, f"$ {command}\n{printed}\n\nexpected:\n{expected}"
        for there, here in zip(handles, found.groups(), strict=True):
            assert here == self._handles.setdefault(there, here), command


def _check_installed(requirements: Sequence[str]) -> None:
    """Check that what a page installs exists, with its extras."""
    for requirement in requirements:
        name, extras = re.fullmatch(_REQUIREMENT, requirement).groups()  # type: ignore[union-attr]
        known = importlib.metadata.metadata(name).get_all("Provides-Extra") or []
        assert {*(extras or "").split(",")} - {""} <= {*known}, requirement
