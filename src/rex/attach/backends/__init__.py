"""One file for each kind of storage; an application asks `rex.attach.opening` for the right one."""
