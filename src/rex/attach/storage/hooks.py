"""Hooks: how an application takes part in the life of an upload.

An upload begins, its bytes are stored, the hooks run, and only then the client gets its response.
So a client never knows of an attachment that the application does not know of. A client sends an
upload without a response again, or sweep finds it.
"""

from __future__ import annotations

import dataclasses
import inspect
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from rex.attach.content.reader import Reader  # noqa: TC001 - resolved at run time
from rex.attach.info import Info  # noqa: TC001 - as above
from rex.attach.storage.request_thread import call_in_request
from rex.core import Error, Kind
from rex.core.function import Function

if TYPE_CHECKING:
    import asyncio

__all__ = [
    "LOOP",
    "BeginHook",
    "Hooks",
    "RemovedHook",
    "StoredUpload",
    "UploadHook",
    "UploadRequest",
]

LOOP: ContextVar[asyncio.AbstractEventLoop | None] = ContextVar("rex.attach.loop", default=None)
"""The event loop whose task called the operation of this thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadRequest:
    """An upload that begins.

    ``on_begin`` may return it changed by `dataclasses.replace`: name, content_type, max_size and
    owner count.
    """

    name: str | None
    """The file name that the client sent, not sanitised."""
    content_type: str | None = None
    """The content type that the client sent; None: the name decides."""
    size: int | None = None
    """The size in bytes, if the client announced it."""
    max_size: int | None = None
    """The size limit of this upload in bytes; None for no limit."""
    owner: object = None
    """The user who uploads, as the application knows users; None if unknown.

    Requests that continue the upload must come from this user.
    """
    handle: str = ""
    """The handle of the attachment; empty in ``on_begin``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredUpload:
    """An upload whose bytes are stored."""

    info: Info
    """The metadata of the attachment."""
    owner: object
    """The user who uploaded it, as given to the operation.

    None if the request had no user, as with a link: `Storage.is_owned_by` recognises its owner.
    """
    opener: Callable[[str], Reader] = field(repr=False)
    """`Storage.open` of the storage that has it."""

    @property
    def handle(self) -> str:
        """The handle of the attachment."""
        return self.info.handle

    def open(self) -> Reader:
        """Open the attachment for reading; use it in a ``with`` statement, or close it."""
        return self.opener(self.handle)


BeginHook: TypeAlias = Callable[
    [UploadRequest], UploadRequest | Awaitable[UploadRequest | None] | None
]
UploadHook: TypeAlias = Callable[[StoredUpload], Awaitable[None] | None]
RemovedHook: TypeAlias = Callable[[str], Awaitable[None] | None]

Hook: TypeAlias = Callable[[Any], Any]


class Hooks:
    """The hooks of an application; each is a function, the value of its setting, or None.

    A plain function runs in the thread of the operation or, in a request under WSGI, in the thread
    of the request. An ``async`` function runs in the event loop whose task called the operation
    through `Storage.aio`, or else in a loop of its own.

    A hook refuses by raising an `Error` of the kind `REFUSED`, whose message the client gets. Any
    other exception is a failure of the application.
    """

    def __init__(
        self,
        *,
        on_begin: BeginHook | Function | None = None,
        on_complete: UploadHook | Function | None = None,
        on_stored: UploadHook | Function | None = None,
        on_removed: RemovedHook | Function | None = None,
    ) -> None:
        self._hooks: dict[str, Hook | Function | None] = {
            "on_begin": on_begin,
            "on_complete": on_complete,
            "on_stored": on_stored,
            "on_removed": on_removed,
        }
        self.begins = on_begin is not None
        self.notifies = bool(on_complete or on_stored)
        """Whether the application takes part once an upload is stored."""
        self.notifies_stored = on_stored is not None
        self.notifies_removed = on_removed is not None

    @property
    def given(self) -> dict[str, Hook | Function | None]:
        """The options with which the same hooks are made."""
        return dict(self._hooks)

    def check(self) -> None:
        """Import the functions that are given by name. Errors: `CONFIGURATION`."""
        for name in self._hooks:
            self._find(name)

    def begin(self, request: UploadRequest) -> UploadRequest:
        """Call ``on_begin``. Errors: `REFUSED`; `INTERNAL` if the function fails."""
        changed = self._call("on_begin", request)
        if changed is None:
            return request
        if not isinstance(changed, UploadRequest):
            raise Error("on_begin must return an UploadRequest or None", type(changed).__qualname__)
        return dataclasses.replace(changed, handle="", size=request.size)

    def complete(self, upload: StoredUpload) -> None:
        """Call ``on_complete``. Errors: `REFUSED`; `INTERNAL` if the function fails."""
        self._call("on_complete", upload)

    def stored(self, upload: StoredUpload) -> None:
        """Call ``on_stored``. Errors: `INTERNAL` if the function fails."""
        self._call("on_stored", upload)

    def removed(self, handle: str) -> None:
        """Call ``on_removed``. Errors: `REFUSED`; `INTERNAL` if the function fails."""
        self._call("on_removed", handle)

    def _find(self, name: str) -> Hook | None:
        hook = self._hooks[name]
        if isinstance(hook, Function):
            hook = self._hooks[name] = hook.load(f"attach_{name}")
        return hook

    def _call(self, name: str, argument: object) -> Any:
        hook = self._find(name)
        if hook is None:
            return None
        try:
            result = call_in_request(hook, argument)
            return _wait_for(result) if inspect.isawaitable(result) else result
        except KeyboardInterrupt:
            raise
        except BaseException as failure:
            # SystemExit would end the server, and CancelledError the request without a response.
            if isinstance(failure, Error) and failure.kind is Kind.REFUSED and name != "on_stored":
                raise
            raise Error(
                f"The application's function {name} failed",
                f"{type(failure).__qualname__}: {failure}",
                code="hook-failed",
            ) from failure


def _wait_for(awaitable: Awaitable[Any]) -> Any:
    """Wait for an awaitable in the loop of the calling task, or else in a loop of its own."""
    import asyncio

    async def wait() -> Any:
        try:
            return await awaitable
        except SystemExit as failure:  # would end the loop
            raise RuntimeError(repr(failure)) from failure

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        # A task called a blocking operation; its loop cannot run anything else meanwhile.
        return _run_in_thread(wait())
    loop = LOOP.get()
    if loop is not None and loop.is_running():
        return asyncio.run_coroutine_threadsafe(wait(), loop).result()
    return asyncio.run(wait())


def _run_in_thread(coroutine: Coroutine[Any, Any, Any]) -> Any:
    import asyncio

    result: list[Any] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            result.append(asyncio.run(coroutine))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failure.append(error)

    thread = threading.Thread(target=run, name="rex.attach.hook")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]
