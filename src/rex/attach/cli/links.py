"""The commands `rex attach link` and `rex attach reserve`."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

import click

from rex.attach.cli.options import json_object_option
from rex.attach.cli.storages import pass_storage
from rex.attach.handle import make_handle, parse_handle
from rex.core.click_types import DURATION, SIZE

if TYPE_CHECKING:
    from rex.attach.links.link import PresignedLink
    from rex.attach.storage import Storage, UploadMethod

__all__ = ["link", "reserve"]


@click.command()
@click.argument("name")
@json_object_option
def reserve(name: str, *, as_json: bool) -> None:
    """Print a new handle for an upload link; store nothing."""
    handle = make_handle(name)
    click.echo(json.dumps({"handle": handle}) if as_json else handle)


@click.command()
@click.argument("handle")
@click.option("--upload", is_flag=True, help="Allow an upload instead of a download.")
@click.option(
    "--method", type=click.Choice(["POST", "PUT"]), help="Method of an upload (default: POST)."
)
@click.option("--max-size", type=SIZE, help="Largest size of an upload, as in '10 MiB'.")
@click.option("--type", "content_type", help="Content type of an upload (default: by the name).")
@click.option("--inline", is_flag=True, help="Let a browser show the file, if its type is safe.")
@click.option("--filename", help="File name of a download (default: as in the handle).")
@click.option(
    "--expires",
    type=DURATION,
    help="Lifetime, as in 1h; at most 7d (default: attach_link_expires).",
)
@click.option(
    "--window",
    type=DURATION,
    help="Time in which a download link stays the same (default: attach_link_window).",
)
@json_object_option
@pass_storage()
def link(
    storage: Storage,
    handle: str,
    *,
    upload: bool,
    method: UploadMethod | None,
    max_size: int | None,
    content_type: str | None,
    inline: bool,
    filename: str | None,
    expires: float | None,
    window: float | None,
    as_json: bool,
) -> None:
    """Create a download or upload link for clients without credentials.

    The link works for any client until it expires. An upload link is printed as a curl command.
    Get a handle for an upload with `rex attach reserve`.
    """
    if upload:
        misplaced = inline or filename or window is not None
    else:
        misplaced = bool(method or max_size or content_type)
    if misplaced:
        raise click.UsageError(
            "--method, --max-size and --type require --upload; --inline, --filename and --window "
            "exclude it."
        )
    if upload:
        made = storage.upload_link(
            handle,
            method=method or "POST",
            max_size=max_size,
            content_type=content_type,
            expires=expires,
        )
    else:
        made = storage.download_link(
            handle, filename=filename, inline=inline, expires=expires, window=window
        )
    if as_json:
        click.echo(json.dumps(made.as_dict(), indent=2))
    else:
        click.echo(_curl(made, parse_handle(handle).name) if upload else made.url)


def _curl(made: PresignedLink, name: str) -> str:
    """Return a curl command that uploads the file `name` from the working directory."""
    words = ["curl", "--fail", "--request", made.method]
    for header, value in made.headers.items():
        words += ["--header", f"{header}: {value}"]
    for field, value in made.fields.items():
        words += ["--form-string", f"{field}={value}"]
    # curl parses commas and semicolons in the value of --form, but not inside quotes.
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    words += ["--form", f'file=@"{quoted}"'] if made.fields else ["--upload-file", name]
    return shlex.join([*words, made.url])
