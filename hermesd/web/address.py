"""A TCP address that is listened at: bound, refused with what to do about it, and short of descriptors."""

from __future__ import annotations

import errno

import trio

from hermesd.errors import ConfigError, ConflictError

OUT_OF_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
"""What accept(2) says when a connection has to wait because this machine, or this process, has no room for it."""


async def listen(host: str, port: int, *, where: str, backlog: int | None = None) -> list[trio.SocketListener]:
    """Bind ``host:port`` (0: any free port). ``where`` is the configuration key that the address stands in.

    ``backlog``: how many connections may wait to be accepted, listen(2). Raises ConflictError while another program has
    the port (it may yet give it up), and ConfigError when the address cannot be bound at all.
    """
    try:
        return await trio.open_tcp_listeners(port, host=host, backlog=backlog)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        raise (ConflictError if taken else ConfigError)(
            f"cannot listen on {host}:{port}: {error.strerror}",
            where=where,
            next_step="choose another host or port, or stop the program that has it",
        ) from error
