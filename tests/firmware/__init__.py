"""The C library as firmware calls it, where the package itself does not, for the tests."""
