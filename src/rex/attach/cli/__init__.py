"""The commands ``rex attach …``."""
