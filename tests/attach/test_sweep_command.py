"""`rex attach sweep`, run as a person and as a script run it."""

from __future__ import annotations

import json
import os
import sqlite3
from typing import TYPE_CHECKING

import pytest

from programs import REX, run_binary
from rex.attach import open_storage

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from rex.attach_demo.seaweedfs import SeaweedFS

    Run = Callable[..., subprocess.CompletedProcess[bytes]]

OLD = 946684800
"""A time of long ago."""


@pytest.fixture
def rex(tmp_path: Path) -> Run:
    """Run `rex` where the application's attachments are in a directory."""
    (tmp_path / "rex.toml").write_text(
        'packages = ["rex.attach"]\n[settings]\nattach_dir = "files"\n'
    )

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
        return run_binary(
            REX, "attach", "sweep", *arguments, directory=tmp_path, settings=environment
        )

    return run


def fill(tmp_path: Path) -> list[str]:
    """Add attachments that look old, and something left over; give their handles."""
    with open_storage(f"file://{tmp_path}/files") as storage:
        storage.check()
        handles = [storage.add(f"{number}.txt", b"12345") for number in range(4)]
    for handle in handles:
        os.utime(tmp_path / "files" / handle[1:], (OLD, OLD))
    left = tmp_path / f"files/.partial-{'a' * 32}"
    left.write_bytes(b"123")
    os.utime(left, (OLD, OLD))
    return handles


def kept(tmp_path: Path) -> set[str]:
    """Give the handles that are there."""
    with open_storage(f"file://{tmp_path}/files") as storage:
        return set(storage)


def test_it_tells_what_it_would_remove_and_does_when_told(rex: Run, tmp_path: Path) -> None:
    """Attachments stay where it is not told which of them are referred to."""
    handles = fill(tmp_path)
    name = f".partial-{'a' * 32}"
    told = rex()
    assert (0, b"") == (told.returncode, told.stderr)
    expected = f"file  {name}\nDry run, nothing deleted. Would delete: 1 file (3 bytes)\n"
    assert expected == told.stdout.decode()
    assert (tmp_path / "files" / name).exists()
    done = rex("--delete")
    assert f"file  {name}\nDeleted: 1 file (3 bytes)\n" == done.stdout.decode()
    assert not (tmp_path / "files" / name).exists()
    assert b"No garbage found.\n" == rex().stdout
    assert set(handles) == kept(tmp_path)


def test_scripts_get_json(rex: Run, tmp_path: Path) -> None:
    """One object a line, and a sum."""
    fill(tmp_path)
    *lines, last = [json.loads(line) for line in rex("--json").stdout.splitlines()]
    assert [
        {
            "handle": f".partial-{'a' * 32}",
            "kind": "file",
            "size": 3,
            "since": "2000-01-01 00:00:00+00:00",
            "reason": "",
        }
    ] == lines
    assert {"file": 1, "attachment": 0, "bytes": 3}.items() <= last["summary"].items()


@pytest.mark.parametrize("way", ["file", "command", "database", "environment"])
def test_the_handles_come_from_where_the_application_keeps_them(
    rex: Run, tmp_path: Path, way: str
) -> None:
    """A file, a command, or a database, where NULL refers to nothing."""
    handles = fill(tmp_path)
    referenced = handles[:2]
    (tmp_path / "handles").write_text("".join(f"{handle}\n" for handle in [*referenced, ""]))
    with sqlite3.connect(tmp_path / "app.db") as database:
        database.execute("create table documents (file text)")
        rows = [(handle,) for handle in [*referenced, None]]
        database.executemany("insert into documents values (?)", rows)
    database.close()
    query = ["--query", "select file, 1 from documents"]
    arguments, environment = {
        "file": (["--handles", "handles"], {}),
        "command": (["--handles-from", "cat handles | sort"], {}),
        "database": ([*query, "--database", "sqlite:///app.db"], {}),
        "environment": (query, {"DATABASE_URL": "sqlite:///app.db"}),
    }[way]
    done = rex("--delete", *arguments, **environment)
    assert (0, b"") == (done.returncode, done.stderr)
    assert done.stdout.endswith(b"Deleted: 1 file, 2 attachments (13 bytes)\n")
    assert set(referenced) == kept(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["--handles-from", "cat handles; false"], 10, b"exit code 1"),
        (["--handles", "empty"], 9, b"list of referenced handles is empty"),
        (["--handles", "wrong"], 4, b":\n    42"),
        (["--query", "select 1"], 2, b"DATABASE_URL"),
        (["--query", "select 1", "--handles", "empty"], 2, b"exclude each other"),
        (["--query", "nonsense", "--database", "sqlite:///app.db"], 10, b"syntax error"),
        (["--query", "select 1", "--database", "sqlite:///app.db"], 4, b":\n    1"),
        (["--query", "x", "--database", "no://u:secret@h/d"], 9, b"NoSuchModuleError"),
        (["--query", "x", "--database", "secret"], 9, b"ArgumentError"),
        (["--query", "x", "--database", "sqlite:////no/secret.db"], 10, b"unable to open"),
        (["--grace", "1s"], 4, b"at least 60"),
        (["--lifecycle"], 8, b"no bucket"),
        (["--lifecycle", "--handles", "handles"], 2, b"--lifecycle excludes"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_removed(
    rex: Run, tmp_path: Path, arguments: list[str], code: int, reason: bytes
) -> None:
    """Also where some of the handles had been given already; no URL is shown."""
    handles = fill(tmp_path)
    (tmp_path / "handles").write_text(handles[0] + "\n")
    (tmp_path / "empty").write_text("")
    (tmp_path / "wrong").write_text(f"{handles[0]}\n42\n")
    options = [] if "--lifecycle" in arguments else ["--delete"]
    done = rex(*options, *arguments)
    assert reason in done.stderr
    assert code == done.returncode
    assert b"secret" not in done.stderr
    assert b"Traceback" not in done.stderr
    assert set(handles) == kept(tmp_path)
    assert (tmp_path / f"files/.partial-{'a' * 32}").exists()


def test_another_storage_is_swept_and_its_rules_are_printed(rex: Run, seaweedfs: SeaweedFS) -> None:
    """A bucket, by its URL."""
    url = f"s3://{seaweedfs.bucket}/swept?endpoint={seaweedfs.endpoint}"
    keys = {
        "AWS_ACCESS_KEY_ID": seaweedfs.access_key,
        "AWS_SECRET_ACCESS_KEY": seaweedfs.secret_key,
    }
    assert 15 == rex("--storage", url, **keys).returncode  # nothing is there at all
    options = {name.removeprefix("AWS_").lower(): value for name, value in keys.items()}
    with open_storage(
        url, access_key=options["access_key_id"], secret_key=options["secret_access_key"]
    ) as storage:
        storage.add("a.txt", b"a")
    assert b"No garbage found.\n" == rex("--storage", url, **keys).stdout
    rules = json.loads(rex("--storage", url, "--lifecycle", **keys).stdout)["Rules"]
    assert [{"Prefix": "swept/"}, {"Prefix": "swept/.drafts/"}] == [one["Filter"] for one in rules]
    assert {"DaysAfterInitiation": 8} == rules[0]["AbortIncompleteMultipartUpload"]
