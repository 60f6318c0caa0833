"""The context manager that makes an `Error` of a backend's exception."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from rex.attach.content.content import Content
    from rex.core import Error

__all__ = ["ErrorMap"]


class ErrorMap:
    """Maps exceptions for `Storage.map_errors`; a class, since a generator would be slow."""

    __slots__ = ("_content", "_handle", "_translate")

    def __init__(
        self,
        translate: Callable[[Exception, str | None], Error | None],
        handle: str | None,
        content: Content | None,
    ) -> None:
        self._translate = translate
        self._handle = handle
        self._content = content

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, _: object, failure: BaseException | None, __: object) -> None:
        if not isinstance(failure, Exception):
            return
        own = None if self._content is None else self._content.failure
        error = self._translate(failure, self._handle) if own is None else own
        if error is not None and error is not failure:
            raise error from failure
