"""The addresses."""

from django.urls import include, path
from files import views

urlpatterns = [
    path("", views.Documents.as_view()),
    path("<int:pk>/", views.view, name="view"),
    path("<int:pk>/remove/", views.remove, name="remove"),
    path("accounts/", include("django.contrib.auth.urls")),
    path("attachments/", include("rex.attach.django.urls")),
]
