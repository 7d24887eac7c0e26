"""The C library of ee_ref is optional: without a C compiler the package is pure Python."""

import sys
from sysconfig import get_config_var

from setuptools import setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CCompilerError, ExecError, PlatformError


class OptionalBuildExt(build_ext):
    """Goes on without the extension, and says so, when it cannot be compiled."""

    def build_extension(self, ext):
        ext.optional = True
        try:
            super().build_extension(ext)
        except (CCompilerError, ExecError, PlatformError) as error:
            print(
                f"ee_ref: the C library was not built ({error}).\n"
                "ee_ref: going on without it: the NumPy backend works, and is much slower.",
                file=sys.stderr,
            )
            self.make_wheel_pure()

    def make_wheel_pure(self):
        """A wheel without the extension runs anywhere: its name should not say otherwise."""
        wheel = self.distribution.get_command_obj("bdist_wheel", create=False)
        if wheel is not None:
            wheel.root_is_pure = True
            wheel.py_limited_api = False


setup(
    cffi_modules=["kernels/build_ffi.py:ffibuilder"],
    cmdclass={"build_ext": OptionalBuildExt},
    # One wheel serves every CPython from 3.10 on; free-threaded builds have no stable ABI.
    options=(
        {} if get_config_var("Py_GIL_DISABLED") else {"bdist_wheel": {"py_limited_api": "cp310"}}
    ),
)
