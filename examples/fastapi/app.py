"""Users log in and keep files of their own, in a directory or on S3."""

import json
import os
import sqlite3
from pathlib import Path
from secrets import compare_digest
from typing import Annotated

from fastapi import Depends, FastAPI, Form, Request
from fastapi.responses import RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.middleware.sessions import SessionMiddleware

from rex.attach import StoredUpload
from rex.attach.fastapi import Attachments

SECRET, USERS = os.environ["APP_SECRET_KEY"], json.loads(os.environ["APP_USERS"])
Field = Annotated[str, Form()]
database = sqlite3.connect("files.db", isolation_level=None, check_same_thread=False)
database.execute("create table if not exists files (handle text primary key, owner text not null)")


def record(upload: StoredUpload) -> None:  # a file without an owner is recorded when claimed
    database.execute("insert or ignore into files values (?, ?)", (upload.handle, upload.owner))


def forget(handle: str) -> None:
    database.execute("delete from files where handle = ?", (handle,))


async def current_user(request: Request) -> str | None:
    return request.session.get("user")


User = Annotated[str | None, Depends(current_user)]
app = FastAPI()
app.add_middleware(SessionMiddleware, secret_key=SECRET, same_site="strict", https_only=True)
Attachments.from_environment(app, user=current_user, on_stored=record, on_removed=forget)


@app.get("/files")
def files(user: User) -> dict[str, object]:
    rows = database.execute("select handle from files where owner = ?", (user,))
    return {"user": user, "handles": [handle for (handle,) in rows]}


@app.post("/login")  # without a name: log out
def login(request: Request, name: Field = "", password: Field = "") -> RedirectResponse:
    is_own_page = request.headers.get("Sec-Fetch-Site", "same-origin") == "same-origin"
    is_known = name in USERS and compare_digest(USERS[name].encode(), password.encode())
    request.session["user"] = name if is_own_page and is_known else None
    return RedirectResponse("/", 303)


app.mount("/", StaticFiles(directory=Path(__file__).parents[1] / "page/public", html=True))
