"""A gRPC channel to the kubelet's sockets, and its errors in one line."""

from __future__ import annotations

from pathlib import Path

import grpc.aio


class KubeletError(Exception):
    """The kubelet did not do what it was asked, or not in time; the message is one line."""


def open_channel(socket: Path) -> grpc.aio.Channel:
    """A channel to a Unix socket; connects at the first call, and again after a kubelet's restart."""
    options = [
        # A path is no valid authority, and Go's server refuses what it is made of.
        ("grpc.default_authority", "localhost"),
        ("grpc.enable_http_proxy", 0),
        # Channels to equal addresses share a connection otherwise, and its backoff: 100 agents in a process should not.
        ("grpc.use_local_subchannel_pool", 1),
        # The defaults, 1 s to 2 min, are for a network. A kubelet is back after a second or two.
        ("grpc.initial_reconnect_backoff_ms", 50),
        ("grpc.min_reconnect_backoff_ms", 50),
        ("grpc.max_reconnect_backoff_ms", 1000),
    ]
    return grpc.aio.insecure_channel(f"unix:{socket}", options=options)


def said(error: grpc.aio.AioRpcError) -> str:
    """Status and message of a failed call."""
    return f"{error.code().name.lower().replace('_', ' ')}: {(error.details() or '').strip()}"
