"""Users upload files: PostgreSQL lists them, an S3 server stores them, the proxy has the login."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException
from fastapi.staticfiles import StaticFiles
from sqlalchemy import create_engine, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from rex.attach import StoredUpload
from rex.attach.fastapi import Attachments
from rex.attach.sqlalchemy import Handle

engine = create_engine(os.environ["DATABASE_URL"], pool_pre_ping=True)


class Base(DeclarativeBase):
    pass


class File(Base):
    __tablename__ = "files"

    id: Mapped[int] = mapped_column(primary_key=True)
    handle: Mapped[Handle]
    owner: Mapped[str] = mapped_column(index=True)
    size: Mapped[int]
    stored: Mapped[datetime] = mapped_column(server_default=func.now())


@contextmanager
def transaction() -> Iterator[Session]:
    with Session(engine) as session, session.begin():
        yield session


with transaction() as session:  # the workers start together, and one of them creates the table
    session.execute(text("select pg_advisory_xact_lock(1)"))
    Base.metadata.create_all(session.connection())


def record(upload: StoredUpload) -> None:  # a file without an owner is recorded when claimed
    if upload.owner is not None:
        values = {"handle": upload.handle, "owner": upload.owner, "size": upload.info.size}
        with transaction() as session:
            session.execute(insert(File).values(values).on_conflict_do_nothing())


def forget(handle: str) -> None:
    with transaction() as session:
        session.execute(delete(File).where(File.handle == handle))


def current_user(x_remote_user: Annotated[str, Header()] = "") -> str:
    """Return the user who logged in at the proxy, which replaces this header of a client."""
    if not x_remote_user:
        raise HTTPException(401)
    return x_remote_user


app = FastAPI(openapi_url=None)
Attachments.from_environment(app, user=current_user, on_stored=record, on_removed=forget)


@app.get("/files")
def files(user: Annotated[str, Depends(current_user)]) -> list[dict[str, object]]:
    newest = select(File).where(File.owner == user).order_by(File.id.desc()).limit(100)
    with transaction() as session:
        return [{"handle": file.handle, "size": file.size} for file in session.scalars(newest)]


@app.get("/health")
async def health() -> str:
    return "ok"


app.mount("/", StaticFiles(directory=Path(__file__).parent / "page", html=True))
