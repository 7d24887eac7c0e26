"""Boards under QEMU give the bytes of the desk (docs/porting.md)."""
