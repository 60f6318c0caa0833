"""The guides are true: their commands work as printed, and the code has the messages."""

from __future__ import annotations

import ast
import os
import re
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from pages import write_files
from programs import BIN, run
from rex.attach import open_storage
from served import HOST, PORT, rex_serving

HERE = ["sqlite3"] if shutil.which("sqlite3") else []
LEFT_OUT = () if HERE else ("the commands of a backup (needs Debian's sqlite3)",)
ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
ADDRESS = "http://127.0.0.1:8000"
UPLOADS = 8
"""One for each way with commands, and three for bodies."""
NOT_RUN = r"<!--- not run -->\s*"


def commands(page: str) -> str:
    """Return the commands in the console blocks of a page, except those that are marked."""
    text = (DOCS / page).read_text("utf-8")
    text = re.sub(NOT_RUN + r"```console\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = re.findall(r"^\$ ((?:.*\\\n)*.*\n)", "".join(blocks), re.MULTILINE)
    return "".join(lines)


def run_commands(page: str, directory: Path, **settings: object) -> None:
    """Run the commands of a page one after another; fail with the first that fails."""
    script = commands(page).replace(ADDRESS, str(settings.pop("address", ADDRESS)))
    given = {**settings, "path": f"{BIN}:{os.environ['PATH']}"}
    done = run("bash", "-euxo", "pipefail", "-c", script, directory=directory, settings=given)
    assert 0 == done.returncode, done.stdout + done.stderr


def test_every_way_to_upload_works_as_it_is_printed(tmp_path: Path) -> None:
    """Each command succeeds, and each way stores the bytes once."""
    content = bytes(range(256)) * 300
    (tmp_path / "scan.png").write_bytes(content)
    place: dict[str, object] = {"attach_dir": tmp_path / "attachments"}
    with rex_serving(tmp_path, **place, attach_url=f"http://{HOST}:{PORT}/attach") as server:
        place["attach_url"] = f"{server.url}/attach"
        run_commands("how-to/which-upload.md", tmp_path, address=server.url, **place)
    stored = sorted((tmp_path / "attachments").glob("2*/*/*/*/scan.png"))
    assert UPLOADS == len(stored)
    assert {content} == {path.read_bytes() for path in stored}


@pytest.mark.parametrize("_program", HERE)
def test_a_storage_is_restored_from_its_backup(_program: str, tmp_path: Path) -> None:
    """The whole cycle: back up, verify, sweep, lose everything, restore."""
    page = (DOCS / "how-to/backup-and-restore.md").read_text("utf-8")
    (settings,) = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "rex.toml").write_text(settings)
    write_files(DOCS / "how-to/backup-and-restore.md", tmp_path)
    with open_storage(tmp_path / "attachments") as storage:
        storage.check()
        handles = [storage.add("scan.png", bytes([number]) * 1000) for number in range(5)]
    with closing(sqlite3.connect(tmp_path / "app.db")) as database:
        database.execute("create table documents (file text)")
        database.executemany("insert into documents values (?)", [(each,) for each in handles])
        database.commit()
    run_commands("how-to/backup-and-restore.md", tmp_path)
    with open_storage(tmp_path / "attachments") as storage:
        kept = [storage.open(handle).read() for handle in handles]
    assert [bytes([number]) * 1000 for number in range(5)] == kept


def test_operations_are_spans_below_those_of_the_application() -> None:
    """The program on the page prints its spans and metrics."""
    page = (DOCS / "how-to/logging-metrics-traces.md").read_text("utf-8")
    (program,) = re.findall(
        r"block: traces -->\n\n```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL
    )
    done = run(sys.executable, "-c", program)
    assert 0 == done.returncode, done.stderr
    assert '"name": "rex.attach.add"' in done.stdout
    assert '"rex.attach.operation.duration"' in done.stdout


def texts() -> set[str]:
    """Return all texts in the code, with … for each value in them."""
    found = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found |= {"".join(shown(part, i) for part in node.values) for i in (0, 1)}
            else:
                found.add(shown(node, 0))
    return found


def shown(part: ast.AST, which: int) -> str:
    """Return a part of a text: of a condition, one of its two values."""
    if isinstance(part, ast.FormattedValue) and isinstance(part.value, ast.IfExp):
        part = (part.value.body, part.value.orelse)[which]
    return str(part.value) if isinstance(part, ast.Constant) else "…"


def test_each_message_on_the_page_is_one_of_the_code() -> None:
    """Users search the page for the text that they see."""
    page = (DOCS / "troubleshooting.md").read_text("utf-8")
    headings = re.findall("`(.+?)`", "".join(re.findall("^### .*", page, re.MULTILINE)))
    rows = re.findall(r"^\| `(.+?)` \|", page, re.MULTILINE)
    known = "\n".join(texts())
    assert len(headings) > 40
    assert [] == [message for message in headings + rows if message not in known]
