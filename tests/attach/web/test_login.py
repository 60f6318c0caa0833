"""The service knows the users of its host: the blocks of the page on logins, on real servers."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import httpx
import pytest

from programs import PATIENCE
from served import HOST, PORT, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULES = os.pathsep.join((str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")))

GRANIAN = ["granian", "--interface", "asginl", "--no-ws", "--port", PORT, "--factory"]
GUNICORN = ["gunicorn", "--threads", "4", "--no-control-socket", "--bind", f"{HOST}:{PORT}"]
SHOPS = {
    "authentication": GRANIAN,
    "django": GRANIAN,
    "fastapi": GRANIAN,
    "flask": GUNICORN,
    "flask_login": GUNICORN,
    "starlette": GRANIAN,
}
TUS = {"Tus-Resumable": "1.0.0"}


class Shop(NamedTuple):
    """A running application."""

    name: str
    url: str

    @contextmanager
    def client(self, name: str = "") -> Iterator[httpx.Client]:
        """Yield a client, signed in if it has a name."""
        with httpx.Client(base_url=self.url, timeout=PATIENCE) as client:
            if name and self.name == "fastapi":
                client.headers["Authorization"] = f"Bearer {name}"
            elif name:
                client.get(f"/login/{name}").raise_for_status()
            yield client


@pytest.fixture(scope="module", params=sorted(SHOPS))
def shop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    """Serve an application with the block of the page that is for it."""
    name: str = request.param
    directory = tmp_path_factory.mktemp(name)
    factory = "login_shops:asgi" if SHOPS[name] is GRANIAN else "login_shops:wsgi()"
    command = [sys.executable, "-m", *SHOPS[name], factory]
    with serving(command, directory, {"PYTHONPATH": MODULES, "SHOP": name}) as served:
        yield Shop(name, served.url)


def test_a_user_of_the_host_stores_and_reads(shop: Shop) -> None:
    """Ann is signed in as the application signs its users in."""
    with shop.client("ann") as ann:
        stored = ann.post("/attach/?name=a.txt", content=b"hers").raise_for_status()
        assert b"hers" == ann.get(stored.headers["Location"]).content


@pytest.mark.parametrize("shop", sorted(SHOPS.keys() - {"fastapi"}), indirect=True)
def test_a_client_that_is_not_signed_in_is_refused(shop: Shop) -> None:
    """The words say nothing more."""
    with shop.client() as stranger:
        answer = stranger.post("/attach/?name=a.txt", content=b"x")
    assert 403 == answer.status_code
    assert "application/problem+json" == answer.headers["Content-Type"]
    assert "denied" == answer.json()["kind"]
    assert "WWW-Authenticate" not in answer.headers


@pytest.mark.parametrize("shop", ["fastapi"], indirect=True)
def test_a_dependency_of_fastapi_refuses_as_in_other_endpoints(shop: Shop) -> None:
    """With its status, its words and its challenge."""
    with shop.client() as stranger:
        answer = stranger.post("/attach/?name=a.txt", content=b"x")
    assert (401, "Bearer") == (answer.status_code, answer.headers["WWW-Authenticate"])
    assert {"detail": "Not authenticated"} == answer.json()


def test_an_upload_belongs_to_the_user_who_began_it(shop: Shop) -> None:
    """Another user of the host may not continue it; she herself may."""
    with shop.client("ann") as ann, shop.client("bob") as bob:
        begun = ann.post("/attach/tus/", headers={**TUS, "Upload-Length": "3"})
        place = begun.raise_for_status().headers["Location"]
        sent = {**TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        assert 403 == bob.patch(place, headers=sent, content=b"his").status_code
        assert 204 == ann.patch(place, headers=sent, content=b"her").status_code


@pytest.mark.parametrize("shop", ["django"], indirect=True)
def test_a_rule_asks_the_database_of_django(shop: Shop) -> None:
    """Bob is signed in, but is not one of the editors."""
    with shop.client("bob") as bob:
        assert 403 == bob.get("/attach/").status_code
    with shop.client("ann") as ann:
        assert 200 == ann.get("/attach/").status_code


@pytest.mark.parametrize("shop", ["fastapi"], indirect=True)
def test_a_rule_of_fastapi_sees_the_user_of_the_dependency(shop: Shop) -> None:
    """Bob is no administrator, so that he may not remove; an unknown token is 401 as elsewhere."""
    with shop.client("bob") as bob, shop.client("ann") as ann, shop.client("eve") as eve:
        place = bob.post("/attach/?name=b.txt", content=b"x").raise_for_status().headers["Location"]
        assert [403, 204] == [each.delete(place).status_code for each in (bob, ann)]
        assert (401, "Unknown token") == (
            eve.get("/attach/").status_code,
            eve.get("/attach/").json()["detail"],
        )
