"""The handle of an attachment as a type of parameters and models."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import AfterValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from rex.attach.handle import parse_handle
from rex.core import Error

__all__ = ["Handle"]

_PATTERN = (
    r"^/[0-9]{4}/[0-9]{2}/[0-9]{2}"
    r"/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/[^/]+$"
)


def _check(given: str) -> str:
    try:
        parse_handle(given)
    except Error as error:
        raise PydanticCustomError("attachment_handle", "Ill-formed attachment handle") from error
    return given


Handle: TypeAlias = Annotated[
    str,
    AfterValidator(_check),
    WithJsonSchema({"type": "string", "pattern": _PATTERN, "description": "An attachment"}),
]
"""The handle of an attachment, as a parameter of an endpoint or a field of a model.

Anything else is answered with 422 and the name of the parameter. In a path, it includes its first
slash: ``@app.get("/files{handle:path}")``.
"""
