"""Attachments in a directory."""
