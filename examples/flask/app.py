"""Users log in and keep files of their own, in a directory or on S3."""

import os
import sqlite3
from secrets import compare_digest

from flask import Flask, Response, make_response, redirect, request, session

from rex.attach import StoredUpload
from rex.attach.flask import Attachments, current_attachments

app = Flask(__name__, static_folder="../page/public", static_url_path="/")
app.config.from_prefixed_env("APP")  # APP_SECRET_KEY, APP_USERS
app.config.update(SESSION_COOKIE_SAMESITE="Strict", SESSION_COOKIE_SECURE=True)
USERS: dict[str, str] = app.config["USERS"]
database = sqlite3.connect("files.db", isolation_level=None, check_same_thread=False)
database.execute("create table if not exists files (handle text primary key, owner text not null)")


def record(upload: StoredUpload) -> None:  # a file without an owner is recorded when claimed
    database.execute("insert or ignore into files values (?, ?)", (upload.handle, upload.owner))


def forget(handle: str) -> None:
    database.execute("delete from files where handle = ?", (handle,))


def rule(user: str | None, action: str, handle: str | None) -> bool:
    if not user or action == "list":
        return False
    return not handle or current_attachments.is_owned_by(handle, user)


app.config.update({name: os.environ[name] for name in os.environ if name.startswith("ATTACH_")})
app.config.update(ATTACH_ON_STORED=record, ATTACH_ON_REMOVED=forget)
Attachments(app, rule=rule, user=lambda: session.get("user"))
app.add_url_rule("/", "index", lambda: app.send_static_file("index.html"))


@app.get("/files")
def files() -> dict[str, object]:
    rows = database.execute("select handle from files where owner = ?", (session.get("user"),))
    return {"user": session.get("user"), "handles": [handle for (handle,) in rows]}


@app.post("/login")  # without a name: log out
def login() -> Response:
    name, password = request.form.get("name", ""), request.form.get("password", "")
    is_own_page = request.headers.get("Sec-Fetch-Site", "same-origin") == "same-origin"
    is_known = name in USERS and compare_digest(USERS[name].encode(), password.encode())
    session["user"] = name if is_own_page and is_known else None
    return make_response(redirect("/", 303))
