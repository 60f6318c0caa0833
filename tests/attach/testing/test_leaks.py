"""The fixture `attach_leaks`: what it counts as a leak, and what it says."""

from __future__ import annotations

import pytest

pytest_plugins = ("pytester",)

PLUGIN = ("-p", "rex.attach.testing", "-p", "no:cacheprovider", "-W", "error")


def run_project(pytester: pytest.Pytester, **outcomes: int) -> pytest.RunResult:
    """Run the tests of a project with the plugin; expect these outcomes."""
    done = pytester.runpytest_inprocess(*PLUGIN)
    done.assert_outcomes(**outcomes)
    return done


@pytest.mark.parametrize("storage", ["attach_storage", "attach_directory", "attach_s3"])
def test_a_leak_fails_the_test_and_is_named(pytester: pytest.Pytester, storage: str) -> None:
    """Orphans and unfinished uploads, on every storage; the failure has no traceback."""
    pytester.makepyfile(
        f"""
        def test_leaks({storage}, attach_leaks):
            kept = {storage}.add("kept.txt", "text")
            {storage}.add("orphan.txt", "text")
            upload = {storage}.uploads.create("upload.txt", size=10)
            {storage}.uploads.append(upload.handle, 0, b"abc")
            attach_leaks.references([kept, None, ""])

        def test_no_leaks({storage}, attach_leaks):
            {storage}.remove({storage}.add("a.txt", "text"))
            upload = {storage}.uploads.create("upload.txt", size=10)
            {storage}.uploads.remove(upload.handle)
        """
    )
    done = run_project(pytester, failed=1, passed=1)
    done.stdout.fnmatch_lines(
        [
            "The test left 2 leaks in *Storage(*):",
            "  orphan: /*/orphan.txt (4 B)",
            "  unfinished resumable upload: /*/upload.txt (3 B)",
            "An orphan is an attachment without a reference: *",
        ]
    )
    done.stdout.no_fnmatch_line("*kept.txt*")
    done.stdout.no_fnmatch_line("*Traceback*")


def test_an_unfinished_multipart_upload_is_a_leak(pytester: pytest.Pytester) -> None:
    """Which a client began by a link, and neither completed nor aborted."""
    pytester.makepyfile(
        """
        def test_leak(attach_s3, attach_leaks):
            attach_s3.multipart.create(attach_s3.reserve("a.txt"), "text/plain")

        def test_no_leak(attach_s3, attach_leaks):
            handle = attach_s3.reserve("a.txt")
            attach_s3.multipart.abort(handle, attach_s3.multipart.create(handle, "text/plain"))
        """
    )
    done = run_project(pytester, failed=1, passed=1)
    done.stdout.fnmatch_lines(["  unfinished multipart upload: *a.txt (0 B)"])


def test_a_temporary_file_is_a_leak(pytester: pytest.Pytester) -> None:
    """As a process leaves it that is killed while it writes."""
    pytester.makepyfile(
        """
        from pathlib import Path

        def test_leak(attach_directory, attach_leaks):
            Path(attach_directory.directory, ".partial-" + 32 * "0").write_text("text")
        """
    )
    done = run_project(pytester, failed=1)
    done.stdout.fnmatch_lines(["  temporary file or object: .partial-0* (4 B)"])


def test_what_fixtures_store_is_not_a_leak(pytester: pytest.Pytester) -> None:
    """Whatever the order of the fixtures is; they may remove it after the check."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def document(attach_storage):
            handle = attach_storage.add("fixture.txt", "text")
            yield handle
            attach_storage.remove(handle)

        def test_after(attach_leaks, document): pass
        def test_before(document, attach_leaks): pass
        """
    )
    run_project(pytester, passed=2)


def test_references_are_read_while_the_fixtures_are_alive(pytester: pytest.Pytester) -> None:
    """A function for them is called after the test function, before its database is closed."""
    pytester.makepyfile(
        """
        import sqlite3
        import pytest

        @pytest.fixture
        def database():
            connection = sqlite3.connect(":memory:")
            connection.execute("create table documents (handle text)")
            yield connection
            connection.close()

        @pytest.fixture
        def checked(attach_leaks, database):
            attach_leaks.references(
                lambda: [row[0] for row in database.execute("select handle from documents")]
            )

        @pytest.mark.parametrize("slash", ["/", ""])
        def test_referenced(attach_storage, database, checked, slash):
            handle = slash + attach_storage.add("a.txt", "text")[1:]
            database.execute("insert into documents values (?)", [handle])

        def test_orphan(attach_storage, database, checked):
            attach_storage.add("orphan.txt", "text")
        """
    )
    done = run_project(pytester, passed=2, failed=1)
    done.stdout.fnmatch_lines(["  orphan: /*/orphan.txt (4 B)"])


def test_a_storage_of_the_application_can_be_watched(pytester: pytest.Pytester) -> None:
    """What it contains already is not a leak; `check` checks at once."""
    pytester.makepyfile(
        """
        import pytest
        from rex.attach import open_storage

        storage = open_storage("memory:")
        storage.add("old.txt", "text")

        def test_leak(attach_leaks):
            attach_leaks.watch(storage)
            storage.add("new.txt", "text")

        def test_no_leak(attach_leaks):
            attach_leaks.watch(storage)

        def test_explicit(attach_leaks):
            attach_leaks.watch(storage)
            handle = storage.add("now.txt", "text")
            with pytest.raises(pytest.fail.Exception, match="now.txt"):
                attach_leaks.check()
            storage.remove(handle)
        """
    )
    done = run_project(pytester, passed=2, failed=1)
    done.stdout.fnmatch_lines(["The test left 1 leak in *", "  orphan: /*/new.txt (4 B)"])


def test_a_failure_or_a_skip_is_not_hidden(pytester: pytest.Pytester) -> None:
    """Only a test that would pass is checked."""
    pytester.makepyfile(
        """
        import pytest

        def test_failure(attach_storage, attach_leaks):
            attach_storage.add("a.txt", "text")
            assert False, "the first failure"

        def test_skip(attach_storage, attach_leaks):
            attach_storage.add("a.txt", "text")
            pytest.skip("not here")

        @pytest.mark.xfail(strict=True)
        def test_expected(attach_storage, attach_leaks):
            attach_storage.add("a.txt", "text")
        """
    )
    done = run_project(pytester, failed=1, skipped=1, xfailed=1)
    done.stdout.fnmatch_lines(["*the first failure*"])
    done.stdout.no_fnmatch_line("*The test left*")


def test_a_reference_that_is_not_a_handle_is_an_error(pytester: pytest.Pytester) -> None:
    """Otherwise a list of other values would hide no orphan, and nobody would know why."""
    pytester.makepyfile(
        """
        def test_wrong(attach_storage, attach_leaks):
            attach_leaks.references(["https://example.org/a.txt"])
        """
    )
    done = run_project(pytester, failed=1)
    done.stdout.fnmatch_lines(["*https://example.org/a.txt*"])
