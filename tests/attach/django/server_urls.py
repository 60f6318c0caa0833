"""The URLs of the project of a server of its own."""

from __future__ import annotations

from django.urls import include, path

from attach.django import server

urlpatterns = [
    path("file/<path:name>", server.show),
    path("async/<path:name>", server.show_from_coroutine),
    path("memory", server.memory),
    path("attachments/", include("rex.attach.django.urls")),
]
