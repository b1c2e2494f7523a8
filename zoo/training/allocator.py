"""glibc's allocator, told to keep large blocks instead of giving them back after each step."""

import ctypes
import platform
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # mallopt's parameters, from malloc.h


def tune_allocator() -> bool:
    """Let this process reuse freed memory; returns whether it could.

    Without it glibc maps blocks above 32 MB anew for each step, and the page faults cost more than the arithmetic. For
    processes of carom's own: the setting is of the whole process, and cannot be undone. Nothing happens, and False is
    returned, where the C library is not glibc.
    """
    if not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 64 * 2**20))
    return all([mallopt(parameter, value) == 1 for parameter, value in settings])
