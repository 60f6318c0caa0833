"""The client curl."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, BinaryIO

from programs import run_binary

if TYPE_CHECKING:
    from pathlib import Path

RAW = ("-H", "Content-Type: application/octet-stream")
"""By itself, curl calls a body that it is told to send a form."""


def post_body(url: str, file: Path) -> str:
    """Upload a file that curl reads into memory first."""
    return _handle(_curl(*RAW, "--data-binary", f"@{file}", f"{url}/?name={file.name}"))


def stream_body(url: str, file: Path) -> str:
    """Upload what curl reads from its standard input; nobody knows the size beforehand."""
    with file.open("rb") as stream:
        sent = _curl(*RAW, "-X", "POST", "-T", "-", f"{url}/?name={file.name}", stdin=stream)
    return _handle(sent)


def post_form(url: str, file: Path) -> str:
    """Upload a file in a form."""
    return _handle(_curl("-F", f"file=@{file}", f"{url}/"))


def download(url: str, target: Path) -> None:
    """Download an attachment."""
    _curl("-o", target, url)


def resume(url: str, target: Path) -> None:
    """Download the first half, then what is still missing."""
    half = int(_curl("-I", "-o", os.devnull, "-w", "%header{content-length}", url)) // 2
    if half:
        _curl("-r", f"0-{half - 1}", "-o", target, url)
    status = _curl("-C", "-", "-o", target, "-w", "%{http_code}", url)
    assert ("206" if half else "200") == status


def _curl(*arguments: object, stdin: BinaryIO | None = None) -> str:
    """Run curl; return what it prints."""
    options = ("--silent", "--show-error", "--fail-with-body")
    done = run_binary("curl", *options, *arguments, given=stdin.read() if stdin else b"")
    assert 0 == done.returncode, done.stderr + done.stdout
    return done.stdout.decode()


def _handle(answer: str) -> str:
    [stored] = json.loads(answer)["attachments"]
    handle: str = stored["handle"]
    return handle
