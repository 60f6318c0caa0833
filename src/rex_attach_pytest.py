"""The entry point of `rex.attach.testing`, the plugin of pytest.

pytest rewrites the assertions of the packages that a plugin's distribution has. For a distribution
without a top-level module or package, it removes the first folder from every path: the packages
``core`` and ``attach`` of a host project would be rewritten. This module is top-level.

PYTEST_DONT_REWRITE: there is no assertion here.
"""

pytest_plugins = ["rex.attach.testing"]
