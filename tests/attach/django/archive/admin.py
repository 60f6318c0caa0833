"""The admin of the models."""

from __future__ import annotations

from django.contrib import admin

from attach.django.archive.models import Report

admin.site.register(Report)
