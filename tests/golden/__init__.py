"""Golden values, computed by PyTorch and frozen: see make.py."""
