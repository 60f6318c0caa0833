"""How links are signed, and with which keys."""
