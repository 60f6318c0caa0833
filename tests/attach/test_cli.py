"""The commands `rex attach …`, run as a person and as a script run them."""

from __future__ import annotations

import datetime
import json
import os
import pty
import shlex
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from programs import PATIENCE, REX, run, run_binary, started
from rex.attach.backends.local.storage import LocalStorage
from rex.attach.backends.local.tree import MARKER
from rex.attach.cli.units import format_size, format_time

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from rex.attach_demo.seaweedfs import SeaweedFS


@pytest.fixture
def rex(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Run `rex` in an empty directory, with the attachments in another."""
    LocalStorage(tmp_path / "attachments").init()

    def run(
        *arguments: str, given: bytes = b"", **environment: str
    ) -> subprocess.CompletedProcess[bytes]:
        work = tmp_path / "work"
        work.mkdir(exist_ok=True)
        settings = {"ATTACH_DIR": str(tmp_path / "attachments"), **environment}
        return run_binary(REX, *arguments, given=given, directory=work, settings=settings)

    return run


def lines(result: subprocess.CompletedProcess[bytes]) -> list[str]:
    """Give the lines of a command that succeeded without a word on stderr."""
    assert (0, b"") == (result.returncode, result.stderr)
    return result.stdout.decode().splitlines()


def test_files_are_added_and_their_handles_printed(
    rex: Callable[..., subprocess.CompletedProcess[bytes]], tmp_path: Path
) -> None:
    """A handle a line, in the order of the files, with their names."""
    for name in ("b.txt", "a.txt"):
        (tmp_path / name).write_text(name)
    handles = lines(rex("attach", "add", str(tmp_path / "b.txt"), str(tmp_path / "a.txt")))
    assert ["b.txt", "a.txt"] == [Path(handle).name for handle in handles]
    assert b"a.txt" == rex("attach", "get", handles[1]).stdout


def test_standard_input_is_added_and_standard_output_gets_it(
    rex: Callable[..., subprocess.CompletedProcess[bytes]],
) -> None:
    """Bytes go through unchanged, under the name and type given."""
    content = bytes(range(256)) * 100
    (handle,) = lines(
        rex("attach", "add", "--name", "x.bin", "--type", "image/png", "-", given=content)
    )
    assert content == rex("attach", "get", handle).stdout
    known = json.loads(rex("attach", "stat", "--json", handle).stdout)
    assert (25600, "image/png", "x.bin", handle) == (
        known["size"],
        known["content_type"],
        known["name"],
        known["handle"],
    )


def test_a_file_appears_under_its_own_name_and_nothing_else_does(
    rex: Callable[..., subprocess.CompletedProcess[bytes]], tmp_path: Path
) -> None:
    """`-o .` takes the name from the handle; `-o NAME` replaces a file."""
    (handle,) = lines(rex("attach", "add", "--name", "ü b.txt", "-", given=b"hello"))
    assert [] == lines(rex("attach", "get", "-o", ".", handle))
    (tmp_path / "work" / "old.txt").write_text("something longer")
    assert [] == lines(rex("attach", "get", "--output", "old.txt", handle))
    found = {path.name: path.read_bytes() for path in (tmp_path / "work").iterdir()}
    assert {"ü b.txt": b"hello", "old.txt": b"hello"} == found


@pytest.mark.wording
def test_a_get_that_fails_leaves_no_file(
    rex: Callable[..., subprocess.CompletedProcess[bytes]], tmp_path: Path
) -> None:
    """Neither of the name asked for nor a partial one; the exit code says what was wrong."""
    handle = lines(rex("attach", "reserve", "a.txt"))[0]
    result = rex("attach", "get", "-o", "a.txt", handle)
    assert (3, f"rex: Attachment does not exist:\n    {handle}\n") == (
        result.returncode,
        result.stderr.decode(),
    )
    assert 6 == rex("attach", "get", "-o", "missing/a.txt", added(rex)).returncode
    assert [] == [*(tmp_path / "work").iterdir()]


@pytest.mark.wording
def test_a_damaged_attachment_leaves_no_file(
    rex: Callable[..., subprocess.CompletedProcess[bytes]], tmp_path: Path
) -> None:
    """The exit code and the message name the attachment, not the file to be written."""
    (handle,) = lines(rex("attach", "add", "--name", "a.bin", "-", given=bytes(3_000_000)))
    with (tmp_path / "attachments" / handle[1:]).open("r+b") as file:
        file.write(b"\1")
    for output in ("a.bin", "-"):
        result = rex("attach", "get", "-o", output, handle)
        assert 11 == result.returncode
        assert (
            f"rex: Attachment is damaged:\n    {handle}: expected SHA-256" in result.stderr.decode()
        )
        assert len(result.stdout) < 3_000_000
    assert [] == [*(tmp_path / "work").iterdir()]


def test_a_file_that_is_replaced_keeps_its_place_and_mode(
    rex: Callable[..., subprocess.CompletedProcess[bytes]], tmp_path: Path
) -> None:
    """A link is followed, and the mode of its target stays; a device is written to."""
    handle = added(rex)
    target = tmp_path / "target.txt"
    target.touch(0o600)
    link = tmp_path / "work" / "link.txt"
    link.symlink_to(target)
    assert [] == lines(rex("attach", "get", "-o", "link.txt", handle))
    assert (b"hello", 0o600) == (target.read_bytes(), target.stat().st_mode & 0o777)
    assert link.is_symlink()
    assert [] == lines(rex("attach", "get", "-o", "/dev/null", handle))
    assert Path("/dev/null").is_char_device()
    for impossible in ("link.txt/x", "missing/x"):
        assert 6 == rex("attach", "get", "-o", impossible, handle).returncode


def test_closed_and_full_outputs_are_told(
    rex: Callable[..., subprocess.CompletedProcess[bytes]], tmp_path: Path
) -> None:
    """In a paragraph, not as something unexpected."""
    handle = added(rex)
    settings = {"attach_dir": tmp_path / "attachments"}
    for command in (f"get '{handle}' >/dev/full", "ls >/dev/full", "add - <&-"):
        result = run("sh", "-c", f"'{REX}' attach {command}", settings=settings)
        assert 6 == result.returncode
        assert 1 == result.stderr.count("rex: ")
        assert "unexpected" not in result.stderr


def test_listings_are_for_people_and_for_scripts(
    rex: Callable[..., subprocess.CompletedProcess[bytes]],
) -> None:
    """Plain, long and JSON listings agree; a day and a start restrict them."""
    handles = sorted(added(rex) for _ in range(3))
    assert handles == lines(rex("attach", "ls"))
    assert handles[1:] == lines(rex("attach", "ls", "--after", handles[0]))
    assert [] == lines(rex("attach", "ls", "--day", "2001-02-03"))
    assert handles == [json.loads(line)["handle"] for line in lines(rex("attach", "ls", "--json"))]
    known = [json.loads(line) for line in lines(rex("attach", "ls", "-l", "--json"))]
    assert [(handle, 5, "text/plain") for handle in handles] == [
        (one["handle"], one["size"], one["content_type"]) for one in known
    ]
    long = lines(rex("attach", "ls", "--long"))
    assert handles == [line.rpartition("  ")[2] for line in long]
    assert all(["5", "bytes"] == line.split()[:2] for line in long)


def test_a_listing_can_be_read_in_pages_and_by_xargs(
    rex: Callable[..., subprocess.CompletedProcess[bytes]],
) -> None:
    """`--limit` ends a page, `--after` begins the next; `-0` passes any file name on."""
    handles = []
    for _ in range(3):
        name = 'it\'s "$HOME"; x.txt'
        handles += lines(rex("attach", "add", "--name", name, "-", given=b"hello"))
    handles.sort()
    assert handles[:2] == lines(rex("attach", "ls", "--limit", "2"))
    assert handles[2:] == lines(rex("attach", "ls", "--limit", "2", "--after", handles[1]))
    assert 1 == len(lines(rex("attach", "ls", "--limit", "1", "-l", "--json")))
    assert [] == lines(rex("attach", "ls", "--limit", "0"))
    given = rex("attach", "ls", "-0").stdout
    assert "".join(f"{handle}\0" for handle in handles).encode() == given
    removed = run_binary("xargs", "-0", "printf", "%s\n", given=given)
    assert handles == removed.stdout.decode().splitlines()
    assert 2 == rex("attach", "ls", "-0", "--json").returncode


def test_a_tree_of_files_is_added(
    rex: Callable[..., subprocess.CompletedProcess[bytes]], tmp_path: Path
) -> None:
    """Each regular file below it, with its path; what is skipped is told."""
    tree = tmp_path / "work" / "tree"
    (tree / "b" / "c").mkdir(parents=True)
    for name in ("b/c/deep.txt", "b.txt", "a file.txt", "b/2.txt"):
        (tree / name).write_text(name)
    (tree / "link.txt").symlink_to(tree / "b.txt")
    (tree / "loop").symlink_to(tree)
    os.mkfifo(tree / "b" / "fifo")
    expected = ["tree/a file.txt", "tree/b/2.txt", "tree/b/c/deep.txt", "tree/b.txt"]
    done = rex("attach", "add", "-r", "tree")
    told = done.stderr.decode()
    assert (0, expected) == (
        done.returncode,
        [line.split("\t")[1] for line in done.stdout.decode().splitlines()],
    )
    for path in ("tree/link.txt", "tree/loop", "tree/b/fifo"):
        assert f"rex: skipped, not a regular file: {path}\n" in told
    assert told.endswith("rex: 4 stored (34 bytes), 3 skipped\n")
    rest = rex("attach", "add", "-r", "tree", "--after", expected[1], "--json")
    stored = [json.loads(line) for line in rest.stdout.splitlines()]
    assert expected[2:] == [each["path"] for each in stored]
    assert b"b.txt" == rex("attach", "get", stored[-1]["handle"]).stdout
    assert 2 == rex("attach", "add", "tree").returncode


def test_ctrl_c_during_a_tree_says_how_to_go_on(tmp_path: Path) -> None:
    """Nothing is stored twice, nothing is left out."""
    for number in range(300):
        path = tmp_path / "it's here" / f"{number:03}; x.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(str(number))
    settings = {"attach_dir": tmp_path / "attachments"}
    command = (REX, "attach", "add", "-r", "./it's here")
    with started(*command, directory=tmp_path, settings=settings) as adding:
        first = adding.stdout.readline()
        adding.send_signal(signal.SIGINT)
        rest, said = adding.communicate()
    assert (130, True) == (adding.returncode, said.startswith("rex: interrupted: "))
    _, option = said.rstrip().split("to go on, add ")
    again = run(*command, *shlex.split(option), directory=tmp_path, settings=settings)
    assert 0 == again.returncode
    stored = [line.split("\t") for line in (first + rest + again.stdout).splitlines()]
    assert [f"./it's here/{number:03}; x.txt" for number in range(300)] == [
        path for _, path in stored
    ]
    listed = run(REX, "attach", "ls", settings=settings).stdout.splitlines()
    assert {handle for handle, _ in stored} <= {*listed}


def test_every_command_that_prints_handles_has_json(
    rex: Callable[..., subprocess.CompletedProcess[bytes]],
) -> None:
    """An object for each; what fails is on stderr, and in the exit code."""
    (stored,) = lines(rex("attach", "add", "--json", "--name", "a.txt", "-", given=b"x"))
    handle = json.loads(stored)["handle"]
    assert {"handle": handle, "path": "-"} == json.loads(stored)
    (reserved,) = lines(rex("attach", "reserve", "--json", "b.txt"))
    missing = json.loads(reserved)["handle"]
    removed = rex("attach", "rm", "--json", handle, missing)
    assert (3, {"handle": handle, "removed": True}) == (
        removed.returncode,
        json.loads(removed.stdout),
    )


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.00 kB"),
        (12_345_678, "12.3 MB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (9_996_000, "10.0 MB"),
        (5 * 10**18, "5000 PB"),
    ],
)
def test_sizes_have_three_digits(size: int, expected: str) -> None:
    """And a unit of 1000, as those that settings accept."""
    assert expected == format_size(size)


def test_times_have_their_largest_units() -> None:
    """Rounded, never 60 of a unit."""
    shown = [format_time(seconds) for seconds in (0, 59.4, 59.6, 3570, 7500)]
    assert ["0 s", "59 s", "1 min", "1 h 0 min", "2 h 5 min"] == shown


def test_all_are_removed_although_one_was_missing(
    rex: Callable[..., subprocess.CompletedProcess[bytes]],
) -> None:
    """The one that was missing decides the exit code."""
    first, second = added(rex), added(rex)
    missing = lines(rex("attach", "reserve", "x"))[0]
    result = rex("attach", "rm", first, missing, second)
    assert (3, 1) == (result.returncode, result.stderr.count(b"rex: "))
    assert [] == lines(rex("attach", "ls"))


def test_an_operator_removes_without_the_hook_of_the_application(
    rex: Callable[..., subprocess.CompletedProcess[bytes]], tmp_path: Path
) -> None:
    """A hook that refuses has its way, except with --no-notify."""
    (tmp_path / "shop.py").write_text("def keep(handle):\n    raise ValueError('needed')\n")
    hook = {
        "ATTACH_ON_REMOVED": "shop:keep",
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
    }
    handle = added(rex)
    assert 0 != rex("attach", "rm", handle, **hook).returncode
    assert [handle] == lines(rex("attach", "ls"))
    assert [] == lines(rex("attach", "rm", "--no-notify", handle, **hook))
    assert [] == lines(rex("attach", "ls"))


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["get", "/../../etc/passwd"], 4, "Ill-formed attachment handle"),
        (["ls", "--day", "yesterday"], 4, "day must be a date"),
        (["add", "/missing/file"], 2, "does not exist"),
        (["add", "--name", "a", "/dev/null", "/dev/null"], 2, "--name requires exactly one file"),
        (["add"], 2, "Missing argument"),
        (["link", "--inline", "--upload", "/x"], 2, "--inline, --filename and --window exclude it"),
        (["link", "--window", "1m", "--upload", "/x"], 2, "--window exclude it"),
        (["link", "--expires", "soon", "/x"], 2, "expected a duration"),
        (["nonsense"], 2, "No such command"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_in_one_paragraph(
    rex: Callable[..., subprocess.CompletedProcess[bytes]],
    arguments: list[str],
    code: int,
    said: str,
) -> None:
    """On stderr, without a traceback, and with its own exit code."""
    result = rex("attach", *arguments)
    text = result.stderr.decode().replace("is not a duration", "expected a duration")
    assert (code, b"") == (result.returncode, result.stdout)
    assert said in text
    assert "Traceback" not in text


def test_a_limit_holds_on_the_command_line(
    rex: Callable[..., subprocess.CompletedProcess[bytes]],
) -> None:
    """A setting from `--set` wins over the environment."""
    result = rex(
        "--set", "attach_max_size=4", "attach", "add", "-", given=b"hello", ATTACH_MAX_SIZE="1 MB"
    )
    assert 7 == result.returncode
    assert [] == lines(rex("attach", "ls"))


def test_without_a_service_no_link_can_be_made_on_a_directory(
    rex: Callable[..., subprocess.CompletedProcess[bytes]],
) -> None:
    """The error says what would make it possible."""
    result = rex("attach", "link", added(rex))
    assert (8, True) == (result.returncode, b"attach_url" in result.stderr)


def test_a_link_has_the_window_of_the_command(
    rex: Callable[..., subprocess.CompletedProcess[bytes]],
) -> None:
    """It ends as a link that was made at the start of the window."""
    given = ("--json", "--expires", "2h", "--window", "1h")
    made = rex("attach", "link", *given, added(rex), ATTACH_URL="https://example.org/attach")
    ends = datetime.datetime.fromisoformat(json.loads(made.stdout)["expires_at"])
    assert 0 == ends.timestamp() % 3600


def test_a_pipe_that_closes_ends_a_listing_quietly(
    rex: Callable[..., subprocess.CompletedProcess[bytes]], tmp_path: Path
) -> None:
    """As in `rex attach ls | head -1`."""
    for _ in range(3):
        added(rex)
    command = f"'{REX}' attach ls | head -n 1"
    result = run("sh", "-c", command, settings={"attach_dir": tmp_path / "attachments"})
    assert (1, "") == (len(result.stdout.splitlines()), result.stderr)


def test_a_terminal_sees_how_far_a_big_file_is_and_a_pipe_does_not(
    rex: Callable[..., subprocess.CompletedProcess[bytes]], tmp_path: Path
) -> None:
    """The progress goes to stderr, and only when that is a terminal."""
    big = tmp_path / "big.bin"
    with big.open("wb") as file:
        file.truncate(9 * 1024 * 1024)
    assert 1 == len(lines(rex("attach", "add", str(big))))
    terminal, stderr = pty.openpty()
    settings, options = {"attach_dir": tmp_path / "attachments"}, {"stderr": stderr}
    with started(REX, "attach", "add", big, options=options, settings=settings) as adding:
        output, _ = adding.communicate()
    os.close(stderr)
    shown = os.read(terminal, 65536).decode()
    os.close(terminal)
    assert (0, 1) == (adding.returncode, len(output.splitlines()))
    assert "big.bin" in shown
    assert "100%" in shown


def test_links_on_s3_can_be_used_as_they_are_printed(
    rex: Callable[..., subprocess.CompletedProcess[bytes]],
    seaweedfs: SeaweedFS,
    tmp_path: Path,
) -> None:
    """The download is a URL; an upload is a command of curl, or JSON for a script."""
    settings = {name.upper(): value for name, value in seaweedfs.settings().items()}
    settings |= {"ATTACH_DIR": "", "ATTACH_S3_PREFIX": "cli"}
    name = 'it\'s "x" ü, y;z.txt'
    for method in ("POST", "PUT"):
        handle = lines(rex("attach", "reserve", name, **settings))[0]
        work = tmp_path / "work"
        (work / Path(handle).name).write_text(method)
        command = lines(rex("attach", "link", "--upload", "--method", method, handle, **settings))
        assert 0 == run("sh", "-c", f"{command[0]} --silent", directory=work).returncode
        assert method.encode() == rex("attach", "get", handle, **settings).stdout
    url = lines(rex("attach", "link", "--expires", "5m", handle, **settings))[0]
    assert b"PUT" == requests.get(url, timeout=PATIENCE).content
    made = json.loads(rex("attach", "link", "--json", handle, **settings).stdout)
    assert {"method", "url", "headers", "fields", "expires_at"} == set(made)


def test_ctrl_c_during_an_add_leaves_nothing(tmp_path: Path) -> None:
    """The command ends with 130 and the directory is as it was."""
    settings = {"attach_dir": tmp_path / "attachments"}
    with started(REX, "attach", "add", "-", settings=settings) as program:
        program.stdin.write("\0" * 3 * 1024 * 1024)  # more than a pipe holds: it is being read
        program.stdin.flush()
        program.send_signal(signal.SIGINT)
        out, error = program.communicate()
    assert (130, "", "") == (program.returncode, out, error)
    assert [tmp_path / "attachments" / MARKER] == [*(tmp_path / "attachments").iterdir()]


def added(rex: Callable[..., subprocess.CompletedProcess[bytes]]) -> str:
    """Add a small attachment and give its handle."""
    return lines(rex("attach", "add", "--name", "a.txt", "-", given=b"hello"))[0]
