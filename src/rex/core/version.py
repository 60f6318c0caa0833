"""The version of the distribution: here, and nowhere else.

Asking importlib.metadata for it would take longer than all else that ``rex --version`` does.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
