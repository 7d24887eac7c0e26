"""`python -m ee_ref` is `ee-ref`."""

from .cli import entry

entry()
