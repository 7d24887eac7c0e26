"""Run a C program on the C library that is installed: `python installed.py PROGRAM.so [ARG...]`.

The program is a shared object that leaves the kernels to the extension module, so nothing of the
library is compiled again; its `main` is called `program_main` (`link_to_installed` in support.py).
"""

import ctypes
import os
import sys


def main() -> int:
    sys.setdlopenflags(os.RTLD_NOW | os.RTLD_GLOBAL)
    import ee_ref.native._kernels  # noqa: F401

    arguments = [argument.encode() for argument in sys.argv[1:]]
    program = ctypes.CDLL(sys.argv[1]).program_main
    return program(len(arguments), (ctypes.c_char_p * (len(arguments) + 1))(*arguments, None))


if __name__ == "__main__":
    sys.exit(main())
