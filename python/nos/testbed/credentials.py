"""Who may speak to a testbed's API server: one token per user, a key for service account tokens, kubeconfigs.

Tokens, not client certificates: a token is a line in a file, and needs no library to sign anything. The server's own
certificate is made by the API server itself at its first start.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

ADMIN = "admin"
MASTERS = "system:masters"  # allowed everything, and exempt from flow control

# kwok, the kubelet and the controller manager are the cluster's furniture here: exempt, so that a test which floods the
# API server measures its own requests and does not lose its nodes' heartbeats. kube-scheduler stands where it stands in
# a real cluster: in the workload-high priority level, with the built-in RBAC role.
USERS: Mapping[str, Sequence[str]] = {
    ADMIN: (MASTERS,),
    "kwok": (MASTERS,),
    "kubelet": (MASTERS,),
    "system:kube-controller-manager": (MASTERS,),
    "system:kube-scheduler": (),
}


def service_account(namespace: str, name: str) -> tuple[str, Sequence[str]]:
    """The user name and the groups of a service account, so that roles and flow schemas written for it apply."""
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
    return f"system:serviceaccount:{namespace}:{name}", groups


def write_tokens(path: Path, users: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The API server's --token-auth-file; gives back the token of each user."""
    tokens = {user: secrets.token_urlsafe(24) for user in users}
    rows = [f'{tokens[user]},{user},{user},"{",".join(groups)}"\n' for user, groups in users.items()]
    write_private(path, "".join(rows))
    return tokens


def write_service_account_key(path: Path) -> None:
    """A P-256 private key in PEM.

    RFC 5915 needs only the secret number and the curve's name: Go computes the public half when it reads the key."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    secret = (secrets.randbelow(order - 1) + 1).to_bytes(32, "big")
    prime256v1 = bytes.fromhex("06082a8648ce3d030107")
    body = b"\x02\x01\x01" + b"\x04\x20" + secret + b"\xa0" + bytes([len(prime256v1)]) + prime256v1
    text = base64.encodebytes(b"\x30" + bytes([len(body)]) + body).decode()
    write_private(path, f"-----BEGIN EC PRIVATE KEY-----\n{text}-----END EC PRIVATE KEY-----\n")


def write_ca(path: Path, chain: Path) -> bool:
    """The last certificate of a chain, which signed the others; False while the chain is not all there."""
    end = "-----END CERTIFICATE-----\n"
    try:
        certificates = chain.read_text().split(end)[:-1]
    except OSError:
        return False
    if len(certificates) < 2:
        return False
    write_private(path, certificates[-1] + end)
    return True


def write_kubeconfig(path: Path, *, server: str, ca_file: Path, user: str, token: str) -> None:
    """A kubeconfig with one context, whole in itself. JSON, which is YAML that every reader can read."""
    ca = base64.b64encode(ca_file.read_bytes()).decode()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "nos-testbed",
        "clusters": [{"name": "nos-testbed", "cluster": {"server": server, "certificate-authority-data": ca}}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "nos-testbed", "context": {"cluster": "nos-testbed", "user": user}}],
    }
    write_private(path, json.dumps(config, indent=1) + "\n")


def write_private(path: Path, text: str) -> None:
    """Readable by the owner alone, and there whole or not at all."""
    descriptor = os.open(unfinished(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w") as file:
        file.write(text)
    unfinished(path).rename(path)


def unfinished(path: Path) -> Path:
    """What `write_private` leaves when it is interrupted."""
    return path.with_name(f"{path.name}.tmp")
