"""The application with the fields of rex.attach, without migrations; its label is ``archive``."""
