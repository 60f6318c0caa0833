"""An application on FastAPI for servers of several kinds, which notes what it opens in TMPDIR.

It keeps attachments where the environment variable APP_STORAGE says. The user is the one whom the
header ``X-User`` names. A client that stalls is cut after APP_STALL seconds.
"""

import os
import sys
import tempfile
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException, UploadFile

from rex.attach import Info, Storage, open_storage
from rex.attach.fastapi import FORM_BODY, AttachmentResponse, Attachments, Files, Handle

MIB = 1024 * 1024
STALL_SECONDS = float(os.environ["APP_STALL"])

TEMPORARY = tempfile.gettempdir()

opened: list[str] = []


def note(event: str, arguments: tuple[object, ...]) -> None:
    """Note the temporary files, also those without a name."""
    if event == "open" and str(arguments[0]).startswith(TEMPORARY):
        opened.append(str(arguments[0]))


sys.addaudithook(note)


def current_user(x_user: Annotated[str | None, Header()] = None) -> str:
    """Return the user of a request."""
    if x_user is None:
        raise HTTPException(401, "Who is it?")
    return x_user


app = FastAPI()
attachments = Attachments(
    app,
    open_storage(os.environ["APP_STORAGE"]),
    user=current_user,
    stall_seconds=STALL_SECONDS,
)

Streamed = Annotated[list[Info], Depends(attachments.upload(max_size=200 * MIB))]
Small = Annotated[Files, Depends(attachments.upload(max_size=MIB))]
Used = Annotated[Storage, Depends(attachments.storage)]


@app.post("/streamed", openapi_extra=FORM_BODY)
async def streamed(files: Streamed) -> list[Info]:
    """Store the files of a form."""
    return files


@app.post("/small")
async def small(files: Small) -> list[Info]:
    """Store small files."""
    return files


@app.post("/spooled")
async def spooled(file: UploadFile) -> int:
    """Store nothing; a temporary file is made."""
    return file.size or 0


@app.api_route("/own{handle:path}", methods=["GET", "HEAD"], include_in_schema=False)
async def own(handle: Handle, storage: Used) -> AttachmentResponse:
    """Serve an attachment to every user."""
    return AttachmentResponse(storage, handle, stall_seconds=STALL_SECONDS)


@app.get("/opened")
async def opened_files() -> list[str]:
    """Return the temporary files of this process."""
    return opened
