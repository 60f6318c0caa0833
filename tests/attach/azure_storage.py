"""A storage on Azure from keywords, those of the container and those of every storage alike."""

from __future__ import annotations

import dataclasses
from typing import Any

from rex.attach.backends.azure.config import AzureConfig
from rex.attach.backends.azure.storage import AzureStorage

__all__ = ["azure_storage"]

FIELDS = {field.name for field in dataclasses.fields(AzureConfig)}


def azure_storage(container: str, **options: Any) -> AzureStorage:
    """Make a storage on Azure."""
    config = {name: options.pop(name) for name in FIELDS & options.keys()}
    return AzureStorage(AzureConfig(container, **config), **options)
