"""The version of the distribution, defined only here.

Reading it with importlib.metadata would take longer than the rest of ``rex --version``.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
