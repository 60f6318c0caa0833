"""Attachments on Azure Blob Storage."""
