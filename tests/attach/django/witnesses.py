"""A program: thumbnailers and `collectstatic` on a storage, and what became of their files.

Its argument is a JSON object: ``storages`` is the setting, ``alias`` the storage that they get. It
prints, for each, how many objects the storage has after doing the same once and twice, whether the
file is found under its name, and the status of its URL; and the numbers of our system checks.
"""

from __future__ import annotations

import io
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attach.django import project
from programs import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

APPS = ("easy_thumbnails", "sorl.thumbnail", "imagekit")


def setup(task: dict[str, Any], static: Path) -> None:
    """Configure a project that has all of them."""
    alias = task["alias"]
    (static / "css").mkdir()
    for name in ("css/site.css", "logo.svg"):
        (static / name).write_text(name)
    project.setup(
        more_apps=APPS,
        IMAGEKIT_DEFAULT_FILE_STORAGE=alias,
        STATICFILES_DIRS=[static],
        STATICFILES_FINDERS=["django.contrib.staticfiles.finders.FileSystemFinder"],
        STORAGES={**task["storages"], "staticfiles": task["storages"][alias]},
        THUMBNAIL_DEFAULT_STORAGE_ALIAS=alias,
        THUMBNAIL_STORAGE=alias,
    )
    from django.core.management import call_command

    call_command("migrate", verbosity=0, run_syncdb=True)


def picture() -> Any:
    """Return a row with an image."""
    from django.core.files.base import ContentFile
    from PIL import Image

    from attach.django.app.models import Picture

    content = io.BytesIO()
    Image.new("RGB", (200, 100), "teal").save(content, "JPEG")
    return Picture.objects.create(image=ContentFile(content.getvalue(), name="photo.jpeg"))


def easy_thumbnails(source: Any) -> Any:
    """Return a thumbnail of easy-thumbnails."""
    from easy_thumbnails.files import get_thumbnailer

    return get_thumbnailer(source).get_thumbnail({"size": (20, 20)})


def sorl(source: Any) -> Any:
    """Return a thumbnail of sorl-thumbnail; what is remembered is not in its store."""
    from sorl.thumbnail import default, get_thumbnail

    default.kvstore.clear()
    return get_thumbnail(source, "20x20")


def imagekit(source: Any) -> Any:
    """Return a thumbnail of django-imagekit, as another process would: without its cache."""
    from django.core.cache import cache
    from imagekit import ImageSpec
    from imagekit.cachefiles import ImageCacheFile
    from imagekit.processors import ResizeToFill

    class Thumbnail(ImageSpec):  # type: ignore[misc]  # it has no types
        processors = (ResizeToFill(20, 20),)
        format = "JPEG"

    cache.clear()
    file = ImageCacheFile(Thumbnail(source=source))
    file.generate()
    return file


def status(url: str) -> int:
    """Return the status of a URL, of this project or of a server."""
    from django.test import Client

    if url.startswith("/"):
        return Client().get(url).status_code
    import requests

    return requests.get(url, timeout=PATIENCE).status_code


def thumbnails(make: Callable[[Any], Any], storage: Any) -> dict[str, Any]:
    """Make the same thumbnail twice."""
    row = picture()
    before = {*storage.rex}
    counts = []
    for _ in range(2):
        row.refresh_from_db()
        made = make(row.image)
        counts.append(len({*storage.rex} - before))
    is_found = storage.exists(made.name)
    return {"objects": counts, "found": is_found, "status": status(storage.url(made.name))}


def static_files(storage: Any) -> dict[str, Any]:
    """Collect two static files twice."""
    from django.core.management import call_command
    from django.templatetags.static import static

    before = {*storage.rex}
    counts = []
    for _ in range(2):
        output = io.StringIO()
        call_command("collectstatic", interactive=False, stdout=output)
        counts.append(len({*storage.rex} - before))
    words = re.sub(r"\s+", " ", output.getvalue()).strip()
    is_found = storage.exists("css/site.css")
    return {
        "objects": counts,
        "found": is_found,
        "status": status(static("css/site.css")),
        "words": words,
    }


def checks() -> list[str]:
    """Return the numbers of our checks, one for each message, but for those of fields."""
    from django.core.checks import run_checks

    return sorted(str(message.id) for message in run_checks(tags=["rex_attach"]) if not message.obj)


def main() -> None:
    """Do as the task says."""
    task = json.loads(sys.argv[1])
    with tempfile.TemporaryDirectory() as directory:
        setup(task, Path(directory))
        from django.core.files.storage import storages

        storage = storages[task["alias"]]
        found: dict[str, Any] = {
            make.__name__: thumbnails(make, storage) for make in (easy_thumbnails, sorl, imagekit)
        }
        found["collectstatic"] = static_files(storages["staticfiles"])
        found["checks"] = checks()
    print(json.dumps(found))  # noqa: T201 - the answer


if __name__ == "__main__":
    main()
