"""`rex attach copy`, run as a person and as a script run it."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
from typing import TYPE_CHECKING

import pytest

from programs import PATIENCE, REX, run, run_binary, started
from rex.attach import open_storage
from rex.attach.backends.local.storage import LocalStorage
from rex.attach.backends.local.tree import MARKER

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from rex.attach_demo.seaweedfs import SeaweedFS

    Run = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def rex(tmp_path: Path) -> Run:
    """Run `rex` in a directory whose rex.toml names two storages."""
    for name in ("new", "back"):
        LocalStorage(tmp_path / name).init()
    (tmp_path / "rex.toml").write_text(
        f'[storages]\nold = "file://{tmp_path}/old"\n[storages.new]\nurl = "file://{tmp_path}/new"\n'
        'max_size = "1 KiB"\n'
    )

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
        return run_binary(REX, *arguments, directory=tmp_path, settings=environment)

    return run


def fill(tmp_path: Path, number: int) -> list[str]:
    """Add some attachments to the old storage; give their handles."""
    with open_storage(f"file://{tmp_path}/old") as old:
        old.check()
        return [old.add(f"{each}.txt", b"x" * each) for each in range(number)]


def test_named_storages_are_copied(rex: Run, tmp_path: Path) -> None:
    """Silently, with a sum at the end; again, there is nothing to do."""
    handles = fill(tmp_path, 20)
    first, second = (rex("attach", "copy", "old", "new") for _ in range(2))
    assert (0, b"20 copied (190 bytes)\n", b"") == (first.returncode, first.stdout, first.stderr)
    assert (0, b"0 copied, 20 already there (0 bytes)\n") == (second.returncode, second.stdout)
    with open_storage(f"file://{tmp_path}/new") as new:
        assert sorted(handles) == [*new]


def test_scripts_get_json(rex: Run, tmp_path: Path) -> None:
    """An object for each attachment, and one for all."""
    handles = fill(tmp_path, 2)
    done = rex("attach", "copy", "old", f"file://{tmp_path}/new", "--json", "--dry-run")
    *each, last = map(json.loads, done.stdout.splitlines())
    assert sorted(handles) == sorted(one["handle"] for one in each)
    assert {"copied"} == {one["outcome"] for one in each}
    assert (2, 1) == (last["summary"]["copied"], last["summary"]["bytes"])
    assert [tmp_path / "new" / MARKER] == [*(tmp_path / "new").iterdir()]


def test_what_is_wrong_is_told_and_ends_in_11(rex: Run, tmp_path: Path) -> None:
    """What differs, and what could not be copied; all else is copied."""
    handles = fill(tmp_path, 3)
    with (
        open_storage(f"file://{tmp_path}/new") as new,
        open_storage(f"file://{tmp_path}/old") as old,
    ):
        new.check()
        new.put(handles[0], b"other")
        large = old.add("large.bin", bytes(2000))
    done = rex("attach", "copy", "old", "new", "--workers", "1")
    assert 11 == done.returncode
    assert f"differs  {handles[0]}: 5 bytes, not 0" in done.stdout.decode()
    assert f"failed  {large}: Attachment is too large" in done.stdout.decode()
    assert done.stdout.endswith(b"2 copied, 1 different, 1 failed (3 bytes)\n")


def test_removing_what_is_extra_is_asked_for(rex: Run, tmp_path: Path) -> None:
    """Nobody answers here, so nothing is done without --yes."""
    fill(tmp_path, 1)
    with open_storage(f"file://{tmp_path}/new") as new:
        new.check()
        extra = new.add("extra.txt", b"extra")
        asked = rex("attach", "copy", "old", "new", "--delete-extra")
        assert 130 == asked.returncode
        assert b"Remove all attachments from new that are not in old?" in asked.stderr
        assert [extra] == [*new]
        done = rex("attach", "copy", "old", "new", "--delete-extra", "--yes")
        assert b"1 copied, 1 removed from DEST (0 bytes)\n" == done.stdout
        assert extra not in new


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("odl", "new"), "odl; did you mean old?"),
        (("old", "ftp://there"), "A storage must be a path or a URL"),
        (("old", "broken"), "A storage in rex.toml must be a URL"),
    ],
)
def test_a_storage_that_is_none_is_told(
    rex: Run, tmp_path: Path, arguments: tuple[str, str], said: str
) -> None:
    """Before anything is copied."""
    fill(tmp_path, 1)
    with (tmp_path / "rex.toml").open("a") as file:
        file.write("[storages.broken]\nmax_size = 5\n")
    done = rex("attach", "copy", *arguments)
    assert 9 == done.returncode
    assert said in done.stderr.decode()


def test_a_key_in_rex_toml_is_used_and_not_shown(
    rex: Run, tmp_path: Path, seaweedfs: SeaweedFS
) -> None:
    """The keys of a bucket stand with its URL."""
    handles = fill(tmp_path, 3)
    url = f"s3://{seaweedfs.bucket}/command-{tmp_path.name}?endpoint={seaweedfs.endpoint}"
    keys = f'access_key = "{seaweedfs.access_key}"\nsecret_key = "{{}}"\n'
    for secret, code in (("CANARY-wrong", 9), (seaweedfs.secret_key, 0)):
        (tmp_path / "rex.toml").write_text(
            f'[storages]\nold = "file://{tmp_path}/old"\n[storages.s3]\nurl = "{url}"\n'
            + keys.format(secret)
        )
        done = rex("--traceback", "attach", "copy", "old", "s3")
        assert code == done.returncode
        assert secret.encode() not in done.stdout + done.stderr
    back = rex("attach", "copy", "s3", f"file://{tmp_path}/back")
    assert b"3 copied (3 bytes)\n" == back.stdout
    with open_storage(f"file://{tmp_path}/back") as storage:
        assert sorted(handles) == [*storage]


def test_ctrl_c_ends_copies_in_progress_and_says_what_was_done(tmp_path: Path) -> None:
    """A large one too, which would take five minutes more; nothing is left of it."""
    LocalStorage(tmp_path / "new").init()
    fill(tmp_path, 5)
    with open_storage(tmp_path / "old") as old:
        big = old.add("big.bin", bytes(30_000_000))
    command = (REX, "attach", "copy", "--json", "--rate", "100 kB", "./old", "./new")
    with started(*command, directory=tmp_path) as copying:
        first = json.loads(copying.stdout.readline())
        copying.send_signal(signal.SIGINT)
        rest, said = copying.communicate()
    with open_storage(tmp_path / "new") as new:
        stored = [*new]
    assert (130, "copied") == (copying.returncode, first["outcome"])
    assert first["handle"] in stored
    assert big not in stored
    assert [tmp_path / "new" / MARKER] == [*(tmp_path / "new").rglob(".*")]
    summary = json.loads(rest.splitlines()[-1])["summary"]
    assert summary["interrupted"]
    assert len(stored) - 1 <= summary["copied"] <= len(stored)
    assert f"rex: interrupted: {summary['copied']} copied (" in said
    assert "to go on, repeat the command" in said


@pytest.mark.long
def test_a_terminal_is_shown_how_far_it_is(tmp_path: Path) -> None:
    """In attachments and bytes, on one line; Ctrl-C ends it, and the next one goes on."""
    LocalStorage(tmp_path / "new").init()
    fill(tmp_path, 3000)
    command = [REX, "attach", "copy", f"file://{tmp_path}/old", f"file://{tmp_path}/new"]
    master, slave = pty.openpty()
    terminal = dict.fromkeys(("stdin", "stdout", "stderr"), slave)
    with started(*command, options=terminal) as copying:
        os.close(slave)
        shown = b""
        # Bytes are shown before the first of all is stored.
        progress = rb"[1-9][0-9,]* of 3,000, [0-9.]+ [kM]B of [0-9.]+ MB, .*B/s, .* left"
        while not re.search(progress, shown):
            shown += os.read(master, 4096)
        copying.send_signal(signal.SIGINT)
        copying.wait(PATIENCE)
    os.close(master)
    assert 130 == copying.returncode
    with open_storage(f"file://{tmp_path}/new") as new:
        begun = len([*new])
        assert 0 < begun < 3000
    assert [tmp_path / "new" / MARKER] == [*(tmp_path / "new").rglob(".*")]
    done = run(*command)
    assert f"{3000 - begun:,} copied" in done.stdout
    assert f"{begun:,} already there" in done.stdout
