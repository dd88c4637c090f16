"""The way from a real node's Pods to the API server, which listens on loopback; a script, started by the supervisor.

`relay.py ADDRESS NETWORK PORT` listens at ADDRESS, port 443, and passes what comes from NETWORK on to loopback's PORT.
ADDRESS is that of the Pods' end of their links, which is there only while there are Pods: it is listened at all the
same. So nothing has to be set up on the machine, or taken away.

Guaranteed: a connection from elsewhere is closed before a byte of it is passed on.

Standard library only, and started with `python -I -S`, as supervisor.py is and for the same reasons.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import sys

PORT = 443  # of the Service `kubernetes`
IP_FREEBIND = 15  # of Linux; the module socket has no name for it
_PIECE = 65536


def listen(address: str) -> socket.socket:
    """At an address that this machine may not have yet."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
    listening.bind((address, PORT))
    return listening


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until one of the two ends."""
    with contextlib.suppress(OSError):
        while piece := await reader.read(_PIECE):
            writer.write(piece)
            await writer.drain()
        writer.write_eof()


async def relay(address: str, network: str, port: int) -> None:
    """Until it is stopped."""
    pods = ipaddress.ip_network(network)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(writer):
            if ipaddress.ip_address(writer.get_extra_info("peername")[0]) not in pods:
                return
            to_server = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.closing(to_server[1]):
                await asyncio.gather(pass_on(reader, to_server[1]), pass_on(to_server[0], writer))

    server = await asyncio.start_server(serve, sock=listen(address))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(relay(sys.argv[1], sys.argv[2], int(sys.argv[3])))
