"""The commands `rex attach …`."""
