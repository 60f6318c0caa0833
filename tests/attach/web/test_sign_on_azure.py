"""Signatures for a browser on Azure, which has PUT links but no forms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from attach.azure_harness import AzureHarness
from attach.web.uploaders import Page
from rex.attach.links.client import Client
from rex.core import Kind
from rex.core.problem import STATUSES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rex.attach.storage import Storage
    from rex.attach_demo.azurite import Azurite

HERE = "http://here"


@pytest.fixture
def storage(azurite: Azurite) -> Iterator[Storage]:
    """Give a storage on Azure that knows no address of the service."""
    with AzureHarness(azurite).storage() as storage:
        yield storage


def sign(page: Page, **more: Any) -> Any:
    """Ask for the signature of a whole file."""
    wanted = {"method": "PUT", "key": "a.png", "contentType": "image/png", **more}
    return page.json("POST", "/sign", json=wanted)


def test_a_file_goes_to_azure(storage: Storage) -> None:
    """By a link that works once."""
    signed, client = sign(Page(storage)), Client()
    assert not signed["url"].startswith(HERE)
    assert 201 == client.send("PUT", signed["url"], signed["headers"], b"content").status
    assert client.send("PUT", signed["url"], signed["headers"], b"another").refused
    info = storage.info(signed["handle"])
    assert ("image/png", 7) == (info.content_type, info.size)


def test_a_file_of_limited_size_goes_to_the_service(storage: Storage) -> None:
    """Since only a form could limit it, and Azure has none."""
    storage.max_size = 5
    page = Page(storage)
    signed = sign(page)
    assert signed["url"].startswith(f"{HERE}/sign/")
    path = signed["url"].removeprefix(HERE)
    assert 413 == page.ask("PUT", path, content=b"content").status_code
    assert 200 == page.ask("PUT", path, content=b"small").status_code
    assert 5 == storage.info(signed["handle"]).size


def test_forms_have_no_route(storage: Storage) -> None:
    """Without the address of the service, which would answer them."""
    answer = Page(storage).ask("GET", "/s3/params?filename=a.png")
    assert STATUSES[Kind.UNSUPPORTED] == answer.status_code
