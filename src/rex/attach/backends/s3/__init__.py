"""Attachments on an S3-compatible server."""
