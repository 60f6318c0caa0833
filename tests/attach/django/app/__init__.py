"""The application of the tests, without migrations; its label is ``app``."""
