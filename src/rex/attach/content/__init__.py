"""Whatever the caller gives as a stream of bytes; media types; reading."""
