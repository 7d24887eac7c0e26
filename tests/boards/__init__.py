"""Boards under QEMU give the bytes of a PC (docs/porting.md)."""
