"""The tests of a Django project, which `forking.py` runs in forked processes."""

from __future__ import annotations

import os

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.test import TestCase

from attach.django.app.models import Document

PARENT = "PARENT"
"""The variable with the process that forks."""
FIXTURE = "FIXTURE"
"""The variable with the name of the file that the parent saved."""
CONTENT = b"of the parent"


class StoringTests(TestCase):
    """Files of models, as a project tests them."""

    def test_a_document_has_a_file(self) -> None:
        """Save it with a row, read it, delete it."""
        document = Document.objects.create(file=ContentFile(b"of a child", "a.txt"))
        with Document.objects.get().file.open() as file:
            assert b"of a child" == file.read()
        document.file.delete()
        assert not default_storage.exists(str(document.file))

    def test_another_process_forked_this_one(self) -> None:
        """Or the test would show nothing."""
        assert os.environ[PARENT] != str(os.getpid())


class ReadingTests(TestCase):
    """A file that the parent saved; another class is another process, perhaps."""

    def test_the_file_of_the_parent_is_there(self) -> None:
        """Read and list it."""
        name = os.environ[FIXTURE]
        with default_storage.open(name) as file:
            assert CONTENT == file.read()
        assert default_storage.exists(name)

    def test_another_process_forked_this_one(self) -> None:
        """As above."""
        assert os.environ[PARENT] != str(os.getpid())
