"""The views of storages without a server of their own, and the view of direct uploads.

Include them: ``path("attachments/", include("rex.attach.django.urls"))``. Their names, all in the
namespace ``rex_attach``:

===============  =========  ===========================================================
``download``     GET, HEAD  a file, by a signed path (`AttachmentStorage.url`)
``upload``       PUT        an upload, by a signed path (`upload_links.make_upload_link`)
``upload-link``  POST       a link for a file of a form (`direct.upload_link`)
===============  =========  ===========================================================
"""

from __future__ import annotations

from django.urls import path

from rex.attach.django import direct, views

__all__ = ["app_name", "urlpatterns"]

app_name = "rex_attach"

urlpatterns = [
    path("download/<str:token>/<str:name>", views.download, name="download"),
    path("upload/<str:token>", views.upload, name="upload"),
    path("upload-link/", direct.upload_link, name="upload-link"),
]
