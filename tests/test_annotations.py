"""Public annotations can be resolved at run time, as FastAPI and pydantic do."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, get_type_hints

import pytest
from pydantic import TypeAdapter

import rex.attach
import rex.attach.fastapi
import rex.attach.web
from rex.attach import Info, PresignedLink, open_storage
from rex.attach.backend.multipart import Part
from rex.attach.storage.aio import AsyncReader, AsyncStorage, AsyncUploads
from rex.attach.storage.archive import Archive, AsyncArchive
from rex.attach.storage.cors import BucketCors
from rex.attach.storage.multipart import MultipartUploads
from rex.attach.storage.resumable import Upload, Uploads

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PARTS = (
    Archive,
    AsyncArchive,
    AsyncReader,
    AsyncStorage,
    AsyncUploads,
    BucketCors,
    MultipartUploads,
    Part,
    Upload,
    Uploads,
)
"""Classes that an application gets from a storage and does not construct."""

UNRESOLVED = {
    "Storage.aio": "imported on first use",
    "Storage.cors": "imported on first use",
    "Storage.garbage": "rex.attach.backend.garbage is not imported with rex.attach",
    "Storage.multipart": "imported on first use",
    "Storage.tokens": "imported on first use",
    "Storage.uploads": "imported on first use",
    "Storage.zip": "imported on first use",
}
"""Annotations that cannot be resolved, and why."""


def function_of(attribute: object) -> object:
    """Return the function with the annotations of a method or property."""
    if isinstance(attribute, property):
        return attribute.fget
    return attribute.func if isinstance(attribute, functools.cached_property) else attribute


def members(cls: type) -> Iterator[tuple[str, object]]:
    """Yield a class with annotations and its public methods and properties, by their names."""
    yield cls.__name__, cls
    for name in dir(cls):
        function = function_of(inspect.getattr_static(cls, name))
        if not name.startswith("_") and inspect.isfunction(function):
            yield f"{cls.__name__}.{name}", function


def exported() -> Iterator[tuple[str, object]]:
    """Yield what the public modules export: functions, classes and how these are constructed."""
    for module in (rex.attach, rex.attach.fastapi, rex.attach.web):
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isfunction(value):
                yield name, value
            elif inspect.isclass(value):
                yield from members(value)
                yield f"{name}.__init__", value.__init__


PUBLIC: dict[str, Any] = dict(exported()) | {
    name: value for part in PARTS for name, value in members(part)
}


@pytest.mark.parametrize("name", sorted(PUBLIC.keys() - UNRESOLVED))
def test_an_annotation_can_be_resolved(name: str) -> None:
    """Each type that it names is imported in its module."""
    get_type_hints(PUBLIC[name])


@pytest.mark.parametrize("name", UNRESOLVED)
def test_an_exception_is_needed(name: str) -> None:
    """What can be resolved must not be listed as unresolved."""
    with pytest.raises(NameError):
        get_type_hints(PUBLIC[name])


def test_pydantic_reads_and_writes_values(tmp_path: Path) -> None:
    """As FastAPI does for a parameter or a response."""
    with open_storage(f"file://{tmp_path}", url="https://example.org/attach") as storage:
        info = storage.info(storage.add("a.txt", b"content"))
        link = storage.download_link(info.handle)
    for value in (info, link):
        adapter = TypeAdapter[Info | PresignedLink](type(value))
        assert value == adapter.validate_json(adapter.dump_json(value))
