"""The backends, each in a package of its own; `rex.attach.opening` has the registry."""
