"""Links: signing, credentials and grants."""
