"""The addresses of the site, and its forms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import include, path
from django.utils.decorators import method_decorator
from django.views.generic import CreateView, UpdateView

from browser.django_site.models import Paper, Picture
from rex.attach.django import MultipleAttachmentFormField

if TYPE_CHECKING:
    from django.http import HttpRequest


class PapersForm(forms.Form):
    """Several files at a time."""

    title = forms.CharField()
    several = MultipleAttachmentFormField(field="papers.several", max_size=1_000_000)


class Create(CreateView):
    """A form for a new row."""

    template_name = "form.html"
    success_url = "/papers/"


class Update(UpdateView):
    """A form for a row."""

    template_name = "form.html"
    success_url = "/papers/"


def several(request: HttpRequest) -> HttpResponse:
    """Save several files as papers."""
    form = PapersForm(request.POST or None, request.FILES or None)
    if form.is_valid():
        for file in form.cleaned_data["several"]:
            Paper.objects.create(title=form.cleaned_data["title"], file=file)
        return papers(request)
    return render(request, "form.html", {"form": form})


def papers(_: HttpRequest) -> HttpResponse:
    """Return all rows."""
    return JsonResponse(
        {
            "papers": [[each.pk, each.title, each.file.name] for each in Paper.objects.all()],
            "pictures": [[each.image.name, each.width, each.height] for each in _pictures()],
        }
    )


def _pictures() -> Any:
    return Picture.objects.all()


private = method_decorator(login_required, name="dispatch")
paper = {"model": Paper, "fields": ["title", "file"]}

urlpatterns = [
    path("admin/", admin.site.urls),
    path("attachments/", include("rex.attach.django.urls")),
    path("favicon.ico", lambda _: HttpResponse(status=204)),
    path("papers/", papers),
    path("paper/", private(Create).as_view(**paper)),
    path("paper/<int:pk>/", private(Update).as_view(**paper)),
    path("open/", Create.as_view(**paper)),
    path("picture/", private(Create).as_view(model=Picture, fields=["image"])),
    path("several/", several),
]
