"""Forms with files (multipart/form-data, RFC 7578), parsed as they arrive."""

from __future__ import annotations

import enum
import re
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from rex.attach.content.media_type import content_type_for
from rex.attach.handle import show
from rex.attach.http.body_headers import check_not_encoded
from rex.attach.web.form_names import file_name, unescape
from rex.core import Error, Kind

__all__ = ["FORM_OVERHEAD", "FORM_TYPE", "MAX_FILES", "FilePart", "Form", "parameters_of"]

FORM_TYPE = "multipart/form-data"

MAX_FILES = 100
MAX_FIELDS = 100
MAX_FIELD_BYTES = 64 * 1024
MAX_FIELDS_BYTES = 1024 * 1024
MAX_HEADERS = 16
MAX_HEADER_BYTES = 8 * 1024
MAX_PREAMBLE_BYTES = 64 * 1024
MAX_EPILOGUE_BYTES = 64 * 1024
PIECE_BYTES = 512 * 1024

FORM_OVERHEAD = 4 * 1024 * 1024
"""An upper bound of the bytes of a form besides the content of its files."""

# RFC 2046, section 5.1.1.
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")

# RFC 2183. Browsers do not escape backslashes: one before the last quote may be literal.
_PARAMETER = re.compile(
    r"""\s*;\s*([^\s=;"]+)\s*=\s*+("(?:[^"\\]|\\.)*+"|"[^"]*"|[^\s";]*)\s*(?=;|\Z)""", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class FilePart:
    """A file in a form."""

    name: str
    """As the client sent it, unchecked."""
    content_type: str | None
    """As the client sent it, if it is well formed."""
    content: AsyncIterator[bytes]
    """The bytes, as they arrive."""
    field: str = ""
    """The name of the form field."""


class _Part(NamedTuple):
    field: str
    file_name: str | None
    content_type: str | None


class _End(enum.Enum):
    PART = enum.auto()
    FORM = enum.auto()


class Form(AsyncIterator[FilePart]):
    """The files of a form, as they arrive: ``async for file in form``.

    The unread rest of a file is skipped when the next file is requested. Only the fields and one
    chunk are held in memory. A part is a file if it has a ``filename``; a file with an empty name
    and no content, which a browser sends for an empty input, is skipped. ``filename*`` must not
    occur in a form (RFC 7578, section 4.2) and is ignored, except together with an encoded word
    (`rex.attach.web.form_names`).

    Errors: `ILL_FORMED` for a malformed, nested or incomplete form, and for headers, preamble or
    epilogue that are too long; `UNSUPPORTED` for a part with a Content-Encoding; `TOO_LARGE` for
    too many parts and too large fields. Exceptions raised by the chunks propagate unchanged. The
    constructor raises those that follow from the header of the request.
    """

    fields: dict[str, str]
    """The fields read so far; the last of those with the same name."""
    field_count: int
    """The number of fields read so far, including those with the same name."""

    def __init__(self, chunks: AsyncIterator[bytes], content_type: str) -> None:
        """Parse a body with this Content-Type."""
        self.fields = {}
        self.field_count = 0
        self._boundary = _boundary(content_type)
        self._pieces = _Pieces(chunks)
        self._assembly = _Assembly(self._boundary)
        self._has_begun = False
        self._current: _PartContent | None = None
        self._fields_bytes = 0

    async def __anext__(self) -> FilePart:
        while (part := await self._next_part()) is not None:
            self._current = content = _PartContent(self)
            if part.file_name is None:
                await self._read_field(part.field, content)
            elif part.file_name or not await content.is_empty():
                return FilePart(part.file_name, part.content_type, content, part.field)
        raise StopAsyncIteration

    async def _next_part(self) -> _Part | None:
        if self._current is not None:
            async for _ in self._current:
                pass
        event = await self.peek()
        if event is _End.FORM:
            await self._skip_epilogue()
            return None
        self.take()
        if not isinstance(event, _Part):
            raise _ill_formed("the parts are out of order")
        return event

    async def peek(self) -> _Part | bytes | _End:
        """Return the next event without consuming it."""
        events = self._assembly.events
        while not events:
            if not self._has_begun:
                self._has_begun = True
                self._assembly.write(await self._skip_preamble())
                continue
            piece = await self._pieces.next()
            if not piece:
                raise _ill_formed("the last boundary is missing")
            self._assembly.write(piece)
        return events[0]

    def take(self) -> None:
        """Consume the next event."""
        self._assembly.events.popleft()

    async def _skip_preamble(self) -> bytes:
        """Return the first chunk, from the first boundary on (RFC 2046, section 5.1.1)."""
        delimiter = b"\r\n--" + self._boundary
        seen = bytearray(b"\r\n")
        at = -1
        while at < 0:
            piece = await self._pieces.next()
            if not piece:
                raise _ill_formed("the boundary does not occur in the body")
            unseen = max(len(seen) - len(delimiter), 0)
            seen += piece
            at = seen.find(delimiter, unseen)
            skipped = at if at >= 0 else len(seen) - len(delimiter)
            if skipped > MAX_PREAMBLE_BYTES:
                raise _ill_formed("the preamble is too long")
        return bytes(seen[at + 2 :])

    async def _skip_epilogue(self) -> None:
        """Read to the end of the body, so that its length is also checked."""
        size = 0
        while piece := await self._pieces.next():
            size += len(piece)
            if size > MAX_EPILOGUE_BYTES:
                raise _ill_formed("the epilogue is too long")

    async def _read_field(self, name: str, content: AsyncIterator[bytes]) -> None:
        value = bytearray()
        self._fields_bytes += len(name.encode())
        async for chunk in content:
            value += chunk
            self._fields_bytes += len(chunk)
            if len(value) > MAX_FIELD_BYTES:
                raise _too_large(f"a field of more than {MAX_FIELD_BYTES} bytes")
            if self._fields_bytes > MAX_FIELDS_BYTES:
                raise _too_large(f"fields of more than {MAX_FIELDS_BYTES} bytes in total")
        self.fields[name] = value.decode(errors="replace")
        self.field_count += 1


class _PartContent(AsyncIterator[bytes]):
    """The bytes of one part, for one iteration."""

    def __init__(self, form: Form) -> None:
        self._form = form
        self._has_ended = False

    async def __anext__(self) -> bytes:
        if self._has_ended:
            raise StopAsyncIteration
        event = await self._form.peek()
        self._form.take()
        if isinstance(event, bytes):
            return event
        self._has_ended = True
        raise StopAsyncIteration

    async def is_empty(self) -> bool:
        return not isinstance(await self._form.peek(), bytes)


class _Pieces:
    """Chunks split into smaller ones, so that a large chunk is not held twice."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._chunk = b""
        self._position = 0

    async def next(self) -> bytes:
        """Return the next piece, or none at the end."""
        while self._position >= len(self._chunk):
            chunk = await anext(self._chunks, None)
            if chunk is None:
                return b""
            self._chunk, self._position = chunk, 0
        start, self._position = self._position, self._position + PIECE_BYTES
        return self._chunk[start : self._position]


class _Assembly:
    """The callbacks of the parser as events: a part, its bytes, its end."""

    def __init__(self, boundary: bytes) -> None:
        self.events: deque[_Part | bytes | _End] = deque()
        self._headers: dict[bytes, bytes] = {}
        self._header_bytes = 0
        self._name = b""
        self._value = b""
        self._files = 0
        self._fields = 0
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._add_name,
                "on_header_value": self._add_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": self._add_data,
                "on_part_end": lambda: self.events.append(_End.PART),
                "on_end": lambda: self.events.append(_End.FORM),
            },
            max_header_count=MAX_HEADERS,
            max_header_size=MAX_HEADER_BYTES,
        )

    def write(self, piece: bytes) -> None:
        try:
            self._parser.write(piece)
        except FormParserError:
            raise _ill_formed("a part or its headers are malformed") from None

    def _begin_part(self) -> None:
        self._headers = {}
        self._header_bytes = 0

    def _add_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]
        self._count_header(end - start)

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._count_header(end - start)

    def _count_header(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > MAX_HEADER_BYTES:
            raise _ill_formed(f"a part has more than {MAX_HEADER_BYTES} bytes of headers")

    def _end_header(self) -> None:
        name, value = self._name.lower(), self._value
        self._name = self._value = b""
        if name in self._headers:
            raise _ill_formed("a part has the same header twice")
        self._headers[name] = value

    def _end_headers(self) -> None:
        part = _part(self._headers)
        self._files += part.file_name is not None
        self._fields += part.file_name is None
        if self._files > MAX_FILES:
            raise _too_large(f"more than {MAX_FILES} files")
        if self._fields > MAX_FIELDS:
            raise _too_large(f"more than {MAX_FIELDS} fields")
        self.events.append(part)

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        self.events.append(data[start:end])


def _part(headers: dict[bytes, bytes]) -> _Part:
    """Read the headers of a part (RFC 7578, section 4)."""
    text = {name: value.decode(errors="replace") for name, value in headers.items()}
    kind, parameters = parameters_of(text.get(b"content-disposition", ""))
    if kind != "form-data" or "name" not in parameters:
        raise _ill_formed("a part has no name (Content-Disposition: form-data)")
    content_type = text.get(b"content-type")
    if content_type is not None and content_type.lstrip().lower().startswith("multipart/"):
        raise _ill_formed("a part is itself multipart")
    encoding = text.get(b"content-transfer-encoding", "binary").strip().lower()
    if encoding not in ("7bit", "8bit", "binary"):
        raise _ill_formed("a part is encoded (Content-Transfer-Encoding)")
    check_not_encoded(text.get(b"content-encoding", ""))
    if b"content-range" in text:
        raise _ill_formed("a part has only some bytes of a file (Content-Range)")
    if "filename" not in parameters and "filename*" in parameters:
        # The part would count as a field, and the file would be lost silently.
        raise _ill_formed("a part has filename* in place of filename (RFC 7578, section 4.2)")
    return _Part(unescape(parameters["name"]), file_name(parameters), _well_formed(content_type))


def parameters_of(value: str) -> tuple[str, dict[str, str]]:
    """Split a header into its value, in lower case, and its parameters. Errors: `ILL_FORMED`."""
    first, _, _ = value.partition(";")
    parameters: dict[str, str] = {}
    position = len(first)
    while match := _PARAMETER.match(value, position):
        name, given = match[1].lower(), match[2]
        if name in parameters:
            raise _ill_formed(f"a header has the parameter {show(name)} twice")
        is_quoted = given.startswith('"')
        parameters[name] = re.sub(r'\\(["\\])', r"\1", given[1:-1]) if is_quoted else given
        position = match.end()
    if value[position:].strip(" \t;"):
        raise _ill_formed("the parameters of a header are malformed")
    return first.strip().lower(), parameters


def _well_formed(content_type: str | None) -> str | None:
    if content_type is None:
        return None
    try:
        return content_type_for("", content_type.strip())
    except Error:
        return None


def _boundary(content_type: str) -> bytes:
    kind, parameters = parameters_of(content_type)
    boundary = parameters.get("boundary", "")
    if kind != FORM_TYPE or not _BOUNDARY.fullmatch(boundary):
        raise _ill_formed(f"the boundary must follow RFC 2046, not be {show(boundary)}")
    return boundary.encode()


def _ill_formed(reason: str) -> Error:
    return Error("Ill-formed form", reason, kind=Kind.ILL_FORMED)


def _too_large(reason: str) -> Error:
    return Error("The form is too large", reason, kind=Kind.TOO_LARGE)
