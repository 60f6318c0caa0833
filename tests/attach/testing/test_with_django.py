"""The pytest plugin in a Django project, with the test cases of Django."""

from __future__ import annotations

import sys

import pytest

from programs import run

pytest_plugins = ("pytester",)

COMMAND = (sys.executable, "-m", "pytest", "-p", "rex.attach.testing", "-p", "no:cacheprovider")
BARE: dict[str, object] = {"pytest_disable_plugin_autoload": 1}

CONFTEST = """
    import django
    import pytest
    from django.conf import settings

    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=["rex.attach.django", "shop"],
        SECRET_KEY="the secret key of a test",
        STORAGES={
            "default": {
                "BACKEND": "rex.attach.django.AttachmentStorage",
                "OPTIONS": {"url": "memory:"},
            },
        },
    )
    django.setup()

    from django.test.utils import get_runner, setup_test_environment, teardown_test_environment

    @pytest.fixture(autouse=True, scope="session")
    def _django():
        setup_test_environment()
        runner = get_runner(settings)(verbosity=0)
        databases = runner.setup_databases()
        yield
        runner.teardown_databases(databases)
        teardown_test_environment()
"""
MODELS = """
    from django.db import models
    from rex.attach.django import AttachmentField

    class Document(models.Model):
        file = AttachmentField(cleanup=True)
"""
TESTS = """
    import pytest
    from django.core.files.base import ContentFile
    from django.core.files.storage import default_storage
    from django.test import TestCase, TransactionTestCase, override_settings
    from rex.attach.django.references import find_references
    from shop.models import Document

    class Attachments:
        @pytest.fixture(autouse=True)
        def _attachments(self, attach_leaks):
            attach_leaks.watch(default_storage.rex)
            attach_leaks.references(lambda: find_references().handles)

        def create(self, name):
            return Document.objects.create(file=ContentFile(b"text", name))

    class Cases(Attachments, TestCase):
        def test_referenced(self):
            self.create("referenced.txt")

        def test_replaced(self):
            document = self.create("old.txt")
            with self.captureOnCommitCallbacks(execute=True):
                document.file = ContentFile(b"text", "new.txt")
                document.save()

        def test_waiting(self):
            self.create("waiting.txt").delete()

        def test_orphan(self):
            default_storage.save("orphan.txt", ContentFile(b"text"))

        async def test_coroutine(self):
            document = await Document.objects.acreate(file=ContentFile(b"text", "async.txt"))
            assert await Document.objects.filter(pk=document.pk).aexists()

    class Transactions(Attachments, TransactionTestCase):
        def test_deleted(self):
            self.create("deleted.txt").delete()

        def test_orphan(self):
            default_storage.save("other.txt", ContentFile(b"text"))
"""
S3_TESTS = """
    import pytest
    from django.core.files.base import ContentFile
    from django.core.files.storage import default_storage
    from django.test import TestCase, override_settings
    from rex.attach.testing import SeaweedFS
    from shop.models import Document

    @pytest.fixture
    def on_s3(attach_s3_server: SeaweedFS):
        given = attach_s3_server.settings()
        options = {name.removeprefix("attach_s3_"): value for name, value in given.items()}
        url = f"s3://{options.pop('bucket')}/django"
        storage = {
            "BACKEND": "rex.attach.django.AttachmentStorage",
            "OPTIONS": {"url": url, **options},
        }
        with override_settings(STORAGES={"default": storage}):
            yield

    @pytest.mark.usefixtures("on_s3")
    class Cases(TestCase):
        def test_s3(self):
            document = Document.objects.create(file=ContentFile(b"text", "a.txt"))
            assert list(default_storage.rex) == ["/" + document.file.name]
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """Write a Django project with a model."""
    pytester.makeconftest(CONFTEST)
    app = pytester.mkpydir("shop")
    pytester.makepyfile(**{"shop/models": MODELS})
    assert (app / "models.py").exists()
    return pytester


def test_leaks_are_found_before_the_rollback(project: pytest.Pytester) -> None:
    """Removals of a transaction count once `captureOnCommitCallbacks` has run them."""
    project.makepyfile(TESTS)
    done = run(*COMMAND, "-rf", directory=project.path, settings=BARE)
    assert "3 failed, 4 passed" in done.stdout, done.stdout
    for leaked in ("orphan.txt", "other.txt", "waiting.txt"):
        assert f"{leaked} (4 B)" in done.stdout
    for kept in ("referenced.txt", "old.txt", "new.txt", "async.txt", "deleted.txt"):
        assert f"{kept} (4 B)" not in done.stdout
    assert "captureOnCommitCallbacks(execute=True)" in done.stdout


def test_a_test_case_uses_the_throwaway_server(project: pytest.Pytester) -> None:
    """By `override_settings` in a fixture."""
    project.makepyfile(S3_TESTS)
    done = run(*COMMAND, "--attach-require-s3", directory=project.path, settings=BARE)
    assert "1 passed" in done.stdout, done.stdout
