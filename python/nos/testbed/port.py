"""A port for a program that can be told one, but not that it is to choose."""

from __future__ import annotations

import contextlib
import random
import socket


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has. It is below those that the kernel gives to whoever asks for any, so that
    nobody takes it before the program does."""
    while True:
        port = random.randint(20_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as tried:
            tried.bind(("127.0.0.1", port))
            return port
