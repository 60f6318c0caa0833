"""Users upload, list, view and remove their own files."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.contrib.auth.mixins import LoginRequiredMixin
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST
from django.views.generic import CreateView
from files.models import Document


class Documents(LoginRequiredMixin, CreateView):
    model, fields, success_url = Document, ("title", "file"), "/"

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        documents = Document.objects.filter(owner=self.request.user)
        return super().get_context_data(documents=documents, **more)

    def form_valid(self, form: ModelForm) -> HttpResponse:
        form.instance.owner = self.request.user
        return super().form_valid(form)


@login_required
def view(request: HttpRequest, pk: int) -> HttpResponse:
    return redirect(get_object_or_404(Document, pk=pk, owner=request.user).file.url)


@login_required
@require_POST
def remove(request: HttpRequest, pk: int) -> HttpResponse:
    get_object_or_404(Document, pk=pk, owner=request.user).delete()
    return redirect("/")
