"""The table of routes: dispatch, 405, CORS, OpenAPI and the HTTP reference come from it.

A route is an entry here. Its description is the first line of its handler's documentation.
"""

from __future__ import annotations

from rex.attach.content.media_type import URLENCODED_TYPE
from rex.attach.http.body_headers import PARTIAL_TYPE
from rex.attach.web.attachments import Attachments, Downloads
from rex.attach.web.companion import Companion
from rex.attach.web.events import Events
from rex.attach.web.openapi import (
    BYTES,
    INTEGER,
    SIZE,
    TEXT,
    Schema,
    answer,
    header,
    json_body,
    list_of,
    map_of,
    object_of,
    query,
    ref,
)
from rex.attach.web.section import Route, Section
from rex.attach.web.service_links import Signed
from rex.attach.web.sign import Sign
from rex.attach.web.tus import CONTENT_TYPE, VERSION, Tus
from rex.attach.web.upload_resources import UploadResources

__all__ = ["SECTIONS"]

# A table: ruff format would give each argument a line.
# fmt: off

_ANY: Schema = {"*/*": {"schema": BYTES}}
_DOWNLOADED = (answer(200, "The bytes", BYTES, "*/*") | answer(206, "Byte ranges", BYTES, "*/*")
               | answer(304, "Not modified"))
_ARCHIVE = answer(200, "The archive", BYTES, "application/zip")
_RANGES = tuple(header(name, TEXT) for name in ("Range", "If-None-Match", "If-Range"))
_CONDITIONS = (header("If-Match", TEXT), header("If-None-Match", TEXT))
_LISTED = object_of("handle", "url", "name", "content_type?",
                    **{"size?": SIZE, "modified?": {**TEXT, "format": "date-time"}})
_PAGE = object_of(attachments=list_of(_LISTED), next={"type": ["string", "null"]})
_TOKEN = query("token", TEXT, required=True)


def _downloads(path: str, methods: str) -> tuple[Route, ...]:
    return (
        Route(methods, path, Downloads.download, "download", _DOWNLOADED, parameters=_RANGES),
        Route("GET", path, Downloads.redirect, "download", answer(307, "Location is the link"),
              needs="links.signs_downloads", option="redirect"),
        Route("GET", path, Downloads.download_link, "link", answer(200, "The link", ref("Link")),
              needs="links", query="link"),
    )


_COMPLETE = header("Upload-Complete", {"enum": ["?0", "?1"]},
                   about="whether the upload ends with this body (IETF)")
_WHOLE_LENGTH = header("Upload-Length", SIZE)

_ATTACHMENTS = (
    Route("GET HEAD", "/", Attachments.list_page, "list", answer(200, "A page", _PAGE),
          parameters=(query("day", {**TEXT, "format": "date"}),
                      query("after", TEXT, about="a handle"),
                      query("limit", {**INTEGER, "minimum": 1, "maximum": 1000}),
                      query("details", {"enum": ["0", "1"]},
                            about="whether to add size, content type and time of storing"))),
    Route("POST", "/", Attachments.upload, "upload",
          answer(201, "Stored; Location is the URL of a single file",
                 object_of(attachments=list_of(ref("Attachment"))))
          | answer(303, "Stored; Location is the page next, with each handle"),
          parameters=(query("name", TEXT, about="of the file, where the body is its bytes"),
                      query("next", TEXT, about="the path of the page that follows"),
                      _COMPLETE, _WHOLE_LENGTH),
          body={"application/octet-stream": {"schema": BYTES},
                "multipart/form-data": {"schema": object_of(file=BYTES)}}),
    Route("OPTIONS", "/", Attachments.options, None, answer(204, "Upload-Limit"),
          needs="resumable"),
    Route("POST", "/links", Attachments.upload_link, "link",
          answer(201, "The link", object_of("handle", link=ref("Link"))),
          needs="links.signs_uploads",
          body=json_body("name", "content_type?",
                         **{"size?": {**SIZE, "description": "the largest size of the upload"},
                            "method?": {"enum": ["PUT", "POST"]}})),
    Route("POST", "/claim", Attachments.claim, "upload",
          answer(200, "The attachment", ref("Attachment")),
          body=json_body(**{"receipt?": TEXT, "handle?": TEXT, "key?": TEXT})),
    Route("GET HEAD", "/zip", Attachments.zip, "download", _ARCHIVE,
          parameters=(query("handle", list_of(TEXT), required=True),
                      query("name", TEXT, about="of the archive"))),
    Route("POST", "/zip", Attachments.zip, "download", _ARCHIVE,
          body={**json_body(handles=list_of(TEXT), **{"name?": TEXT}),
                URLENCODED_TYPE: {"schema": object_of(handle=list_of(TEXT), **{"name?": TEXT})}}),
    Route("GET HEAD", "/openapi.json", Attachments.describe, None,
          answer(200, "The description", map_of({}))),
    *_downloads("{handle}", "GET HEAD"),
    Route("DELETE", "{handle}", Attachments.remove, "remove",
          answer(204, "Removed") | answer(412, "The entity tag differs"), parameters=_CONDITIONS),
)

_SIGNED = (
    Route("GET", "/signed{handle}", Signed.get, None, _DOWNLOADED,
          needs="links.is_served", parameters=(_TOKEN,)),
    Route("PUT", "/signed{handle}", Signed.put, None, answer(201, "Stored"),
          needs="links.is_served", body=_ANY,
          parameters=(_TOKEN, header("If-None-Match", {"const": "*"}, required=True))),
    Route("POST", "/signed/{token}/", Signed.post, None, answer(204, "Stored"),
          needs="links.is_served",
          body={"multipart/form-data": {"schema": object_of("key", "Content-Type", file=BYTES)}}),
)

_VERSION = header("Tus-Resumable", {"enum": [VERSION]}, required=True)
_NUMBER = {**TEXT, "pattern": "^[0-9]{1,18}$"}
_LENGTH = header("Upload-Length", _NUMBER)
_CHECKSUM = header("Upload-Checksum", TEXT, about="an algorithm and the digest in base64")
_SUPPORTED = answer(204, "Tus-Version, Tus-Extension, Tus-Checksum-Algorithm and Tus-Max-Size")

_TUS = (
    Route("POST", "/tus/", Tus.create, "upload",
          answer(201, "Location is the URL of the upload"), needs="resumable",
          parameters=(_VERSION, _LENGTH, header("Upload-Defer-Length", {"enum": ["1"]}),
                      header("Upload-Metadata", TEXT), header("Upload-Concat", TEXT), _CHECKSUM)),
    Route("OPTIONS", "/tus/", Tus.options, None, _SUPPORTED, needs="resumable"),
    Route("HEAD", "/tus{handle}", Tus.head, "upload",
          answer(200, "Upload-Offset and Upload-Length"), needs="resumable",
          parameters=(_VERSION,)),
    Route("PATCH", "/tus{handle}", Tus.append, "upload", answer(204, "Upload-Offset"),
          needs="resumable", body={CONTENT_TYPE: {"schema": BYTES}},
          parameters=(_VERSION, header("Upload-Offset", _NUMBER, required=True), _LENGTH,
                      _CHECKSUM)),
    Route("DELETE", "/tus{handle}", Tus.terminate, "upload", answer(204, "Removed"),
          needs="resumable", parameters=(_VERSION,)),
    Route("OPTIONS", "/tus{handle}", Tus.options, None, _SUPPORTED, needs="resumable"),
    *_downloads("/tus{handle}", "GET"),
)

_OFFSET = header("Upload-Offset", SIZE, required=True)

_UPLOADS = (
    Route("GET HEAD", "/uploads{handle}", UploadResources.head, "upload",
          answer(204, "Upload-Offset, Upload-Complete, Upload-Length and Upload-Limit"),
          needs="resumable"),
    Route("PATCH", "/uploads{handle}", UploadResources.append, "upload",
          answer(204, "Stored")
          | answer(201, "Complete; Location is the URL of the file",
                   object_of(attachments=list_of(ref("Attachment")))),
          needs="resumable", body={PARTIAL_TYPE: {"schema": BYTES}},
          parameters=({**_COMPLETE, "required": True}, _OFFSET, _WHOLE_LENGTH)),
    Route("DELETE", "/uploads{handle}", UploadResources.terminate, "upload",
          answer(204, "Removed"), needs="resumable"),
    Route("OPTIONS", "/uploads{handle}", UploadResources.options, None,
          answer(204, "Upload-Limit"), needs="resumable"),
)

_KEY = query("key", TEXT, required=True, about="from the response that began the upload")
_PART = object_of("ETag", PartNumber=INTEGER)
_NUMBERS = query("partNumbers", TEXT, required=True, about="separated by commas")

_COMPANION = (
    Route("GET", "/s3/params", Companion.params, "link",
          answer(200, "The form", object_of("method", "url", fields=map_of(TEXT))),
          needs="links.post_links",
          parameters=(query("filename", TEXT, required=True), query("type", TEXT))),
    Route("POST", "/s3/multipart", Companion.create, "link",
          answer(200, "The upload", object_of("key", "uploadId", "bucket")),
          needs="multipart", body=json_body("filename", "type?", **{"metadata?": map_of({})})),
    Route("GET", "/s3/multipart/{upload_id}", Companion.list_parts, "link",
          answer(200, "The parts", list_of(map_of({}))), needs="multipart", parameters=(_KEY,)),
    Route("DELETE", "/s3/multipart/{upload_id}", Companion.abort, "link",
          answer(200, "Aborted", map_of({})), needs="multipart", parameters=(_KEY,)),
    Route("GET", "/s3/multipart/{upload_id}/batch", Companion.sign_parts, "link",
          answer(200, "The links by number", object_of(presignedUrls=map_of(TEXT))),
          needs="multipart", parameters=(_KEY, _NUMBERS)),
    Route("POST", "/s3/multipart/{upload_id}/complete", Companion.complete, "link",
          answer(200, "The attachment", object_of("location", "key")),
          needs="multipart", parameters=(_KEY,), body=json_body(parts=list_of(_PART))),
    Route("GET", "/s3/multipart/{upload_id}/{part}", Companion.sign_part, "link",
          answer(200, "The link", object_of("url", expires=INTEGER)),
          needs="multipart", parameters=(_KEY,)),
)

_SIGN = (
    Route("POST", "/sign", Sign.sign, "link",
          answer(200, "The signed request", object_of(
              "url", "key?", **{"headers?": map_of(TEXT), "fields?": map_of(TEXT)})),
          body=json_body(
              "key", "uploadId?", "contentType?",
              method={"enum": ["GET", "PUT", "POST", "DELETE"]},
              **{"partNumber?": INTEGER, "expiresIn?": INTEGER})),
    Route("PUT", "/sign{handle}", Sign.put, None, answer(200, "Stored"),
          parameters=(_TOKEN,), body=_ANY),
    Route("POST", "/sign{handle}", Sign.post, None,
          answer(200, "As S3", TEXT, "application/xml"), needs="multipart", parameters=(_TOKEN,)),
    Route("GET", "/sign{handle}", Sign.get, None,
          answer(200, "As S3", TEXT, "application/xml"), needs="multipart",
          parameters=(_TOKEN,)),
    Route("DELETE", "/sign{handle}", Sign.delete, None, answer(204, "Aborted"),
          needs="multipart", parameters=(_TOKEN,)),
)

_EVENTS = (
    Route("POST", "/events", Events.receive, None,
          answer(200, "What became of the events", object_of(
              notified=INTEGER, ignored=INTEGER, refused=INTEGER))
          | answer(401, "The events key is missing or wrong"),
          needs="multipart.has_events", option="events_key", body=json_body()),
)

SECTIONS: dict[type[Section], tuple[Route, ...]] = {
    Attachments: _ATTACHMENTS,
    Signed: _SIGNED,
    Tus: _TUS,
    UploadResources: _UPLOADS,
    Companion: _COMPANION,
    Sign: _SIGN,
    Events: _EVENTS,
}
"""The routes by section."""
