"""Content of attachments: streams of bytes, media types, reading."""
