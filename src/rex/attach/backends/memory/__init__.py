"""Attachments in memory, for tests and examples."""
