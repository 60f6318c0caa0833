"""One file for each kind of storage; an application asks `rex.attach.wiring` for the right one."""
