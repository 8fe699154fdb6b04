"""The regulator's transparency log: append-only, in C2SP formats, readable as static files, checkable offline."""
