"""Attachments on Google Cloud Storage."""
