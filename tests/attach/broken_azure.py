"""Storages on Azure broken on purpose: their links, their blocks and their removals."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from attach.broken import caught_by
from rex.attach.backends.azure.links import AzureLinks
from rex.attach.backends.azure.storage import AzureStorage

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterator

    from rex.attach.backend.abilities import Abilities
    from rex.attach.content.content import Content
    from rex.attach.links.link import PresignedLink


class _Signing(AzureStorage):
    """Has other links."""

    signer: type[AzureLinks]

    def _abilities(self) -> Abilities:
        return dataclasses.replace(super()._abilities(), links=self.signer(self._container, None))


class _Writing(AzureLinks):
    """Signs uploads with the permission to write, and without the condition of the client."""

    def _sign(self, method: str, key: str, permissions: str, *args: Any, **more: Any) -> Any:
        (more.get("headers") or {}).pop("If-None-Match", None)
        return super()._sign(method, key, permissions.replace("c", "cw"), *args, **more)


@caught_by("a_put_link_works_once", "a_put_link_does_not_overwrite")
class LetsLinksReplace(_Signing):
    """An upload link may replace what is there."""

    signer = _Writing


class _Believing(AzureLinks):
    """Signs downloads without a type."""

    def _sign(self, *args: Any, response: dict[str, str] | None = None, **more: Any) -> Any:
        kept = {name: response[name] for name in ("rscc", "rscd")} if response else None
        return super()._sign(*args, response=kept, **more)


@caught_by("what_a_client_calls_its_upload_is_not_believed")
class BelievesTheClient(_Signing):
    """A download has the type that the client of the upload chose."""

    signer = _Believing


class _Forms(AzureLinks):
    """Signs forms that no service answers."""

    def post(self, key: str, content_type: str, max_size: int | None, seconds: float) -> Any:
        link: PresignedLink = self.put(key, content_type, max_size, seconds)
        return dataclasses.replace(link, method="POST")


@caught_by("a_form_link_that_cannot_be_made_is_refused")
class SignsFormsOfNobody(_Signing):
    """A form link leads to Azure, which has none."""

    signer = _Forms


class _Account(AzureLinks):
    """Signs everything for one blob."""

    def _sign(self, method: str, key: str, *args: Any, **more: Any) -> Any:
        link = super()._sign(method, key.rpartition("/")[0], *args, **more)
        path, _, query = link.url.partition("?")
        return dataclasses.replace(link, url=f"{path}/{key.rpartition('/')[2]}?{query}")


@caught_by("a_put_link_under_any_name_works", "a_download_link_gives_the_bytes")
class SignsAnotherPath(_Signing):
    """The signature is for another blob."""

    signer = _Account


@caught_by("of_several_removers_exactly_one_succeeds", "what_is_removed_is_gone")
class TellsEveryRemoverOfSuccess(AzureStorage):
    """A remover that comes too late is told nothing."""

    def _delete(self, key: str) -> None:
        with suppress(FileNotFoundError):
            super()._delete(key)


@caught_by("of_many_who_put_at_any_size_one_succeeds")
class CommitsUnconditionally(AzureStorage):
    """The last list of blocks counts."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._lock = threading.Lock()
        control = self._container.control
        ask = control.ask

        def unconditional(
            method: str, path: Any, query: Any = None, headers: Any = None, body: Any = None
        ) -> Any:
            kept = {name: headers[name] for name in headers or {} if name != "If-None-Match"}
            return ask(method, path, query, kept, body)

        control.ask = unconditional  # type: ignore[method-assign]  # broken

    def _put(self, key: str, content: Content, content_type: str) -> None:
        with self._lock:
            self._container.put_parts(key, content, content_type)


@caught_by("content_that_fails_late_leaves_nothing", "a_put_that_fails_takes_nothing_away")
class LeavesItsBlocks(AzureStorage):
    """What was sent of a failed upload stays."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._container.discard = lambda *_: None  # type: ignore[method-assign]  # broken


@caught_by("a_long_listing_is_whole")
class ListsOnePage(AzureStorage):
    """A listing ends after its first blobs."""

    def _list(self, day: datetime.date | None, after: str | None) -> Iterator[str]:
        return itertools.islice(super()._list(day, after), 1000)
