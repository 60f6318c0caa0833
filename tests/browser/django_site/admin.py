"""The admin of the site."""

from typing import ClassVar

from django.contrib import admin

from browser.django_site.models import Folder, Paper, Picture


class PaperInline(admin.TabularInline):
    """The papers of a folder, as rows that can be added."""

    model = Paper
    extra = 1


@admin.register(Folder)
class FolderAdmin(admin.ModelAdmin):
    """Folders with their papers."""

    inlines: ClassVar = [PaperInline]


admin.site.register(Paper)
admin.site.register(Picture)
