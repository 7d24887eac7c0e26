"""Tests of ee_ref: `pytest` from the root of the repository; no PyTorch needed."""
