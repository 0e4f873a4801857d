"""An alarm at an instant of the wall clock that also tells when that clock is set: timerfd_create(2).

A timer on CLOCK_REALTIME counts while the machine is suspended, and TFD_TIMER_CANCEL_ON_SET ends the wait when
somebody sets the clock. Python has these calls from 3.13 on only.
"""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Literal

import trio

_CLOCK_REALTIME = 0
_ABSTIME = 1
_CANCEL_ON_SET = 2
_FAR = 2**40  # seconds: never, but the clock is still watched

Ring = Literal["due", "clock"]


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


_libc = ctypes.CDLL(None, use_errno=True)


class Alarm:
    """One timer. ``close`` it when done."""

    def __init__(self) -> None:
        self._fd = _checked(_libc.timerfd_create(_CLOCK_REALTIME, os.O_NONBLOCK | os.O_CLOEXEC))

    def set(self, at: float | None) -> None:
        """Ring at an instant (epoch seconds; one that has passed rings at once), or only when the clock is set."""
        whole = _FAR if at is None else max(0, int(at))
        rest = 1 if at is None else max(1, int((at - int(at)) * 1e9))  # all zero would disarm it
        spec = _Itimerspec(_Timespec(0, 0), _Timespec(whole, rest))
        result = _libc.timerfd_settime(self._fd, _ABSTIME | _CANCEL_ON_SET, ctypes.byref(spec), None)
        if result < 0 and ctypes.get_errno() != errno.ECANCELED:  # the clock was set: the timer is armed all the same
            _checked(result)

    async def wait(self) -> Ring:
        """Until it rings."""
        while True:
            await trio.lowlevel.wait_readable(self._fd)
            try:
                os.read(self._fd, 8)
            except BlockingIOError:
                continue  # it was set anew meanwhile
            except OSError as error:
                if error.errno == errno.ECANCELED:
                    return "clock"
                raise
            return "due"

    def close(self) -> None:
        """Give the descriptor back."""
        if self._fd >= 0:
            trio.lowlevel.notify_closing(self._fd)
            os.close(self._fd)
            self._fd = -1


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
