"""Calls that must not hang: in a thread of their own, given up after a while."""

from __future__ import annotations

import concurrent.futures
import threading
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import pytest

from programs import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


def bounded(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what the call returns, or raise what it raises; fail the test if it hangs."""
    future: concurrent.futures.Future[T] = concurrent.futures.Future()

    def run() -> None:
        try:
            future.set_result(call(*args, **kwargs))
        except BaseException as failure:  # noqa: BLE001 - handed to who waits
            future.set_exception(failure)

    threading.Thread(target=run, daemon=True).start()
    if not concurrent.futures.wait([future], PATIENCE).done:
        pytest.fail(f"{call} hangs")
    return future.result()
