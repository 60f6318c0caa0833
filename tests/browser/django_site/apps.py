"""The application of the site."""

from django.apps import AppConfig


class SiteConfig(AppConfig):
    """Papers in folders, and pictures."""

    name = "browser.django_site"
    label = "papers"
