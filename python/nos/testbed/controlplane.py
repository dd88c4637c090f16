"""The command lines of the control plane, and where each one says that it is well."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .credentials import unfinished


@dataclass(frozen=True)
class Layout:
    """Where everything of one testbed is. All of it is ours to delete."""

    directory: Path

    @property
    def etcd(self) -> Path:
        return self.directory / "etcd"

    @property
    def logs(self) -> Path:
        return self.directory / "logs"

    @property
    def certificates(self) -> Path:
        return self.directory / "certificates"

    @property
    def config(self) -> Path:
        return self.directory / "config"

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "kubeconfig"

    @property
    def state(self) -> Path:
        return self.directory / "state.json"

    @property
    def apiserver_certificate(self) -> Path:
        """What the API server writes at its first start: its certificate, and that of the authority that signed it."""
        return self.certificates / "apiserver.crt"

    @property
    def ca_file(self) -> Path:
        """That authority."""
        return self.certificates / "ca.crt"

    @property
    def lock(self) -> Path:
        """Locked for as long as the testbed's supervisor lives, and the mark of a directory that is ours to empty."""
        return self.directory / ".nos-testbed.lock"

    @property
    def tokens(self) -> Path:
        return self.config / "tokens.csv"

    @property
    def service_account_key(self) -> Path:
        return self.config / "service-account.key"

    @property
    def etcd_socket(self) -> Path:
        return self.directory / "etcd.sock"

    @property
    def etcd_peer_socket(self) -> Path:
        return self.directory / "etcd-peer.sock"

    @property
    def real_node(self) -> Path:
        """The real node's: containerd's and the kubelet's data, configuration and sockets."""
        return self.directory / "node"

    @property
    def number(self) -> int:
        """Of this directory; for names that several testbeds on one machine must not share."""
        return int.from_bytes(hashlib.sha256(os.fsencode(self.directory)).digest()[:6], "big")

    @property
    def networks(self) -> tuple[str, str]:
        """Of the real node's Pods, and of Services, whose first address is the API server's: 126 addresses each, out of
        the range reserved for benchmarks. Which ones depends on the directory: the Pods' routes, and the address at
        which they find the API server, are the machine's, and several testbeds share it."""
        offset = self.number % 512 * 256
        first = f"198.{18 + (offset >> 16)}.{offset >> 8 & 255}"
        return f"{first}.0/25", f"{first}.128/25"

    @property
    def cgroup(self) -> str:
        """What the real node takes for the root of every hierarchy."""
        return f"/nos-testbed-{self.number:x}"

    @staticmethod
    def cgroup_roots() -> list[Path]:
        """Where cgroups are made: one directory, or in version 1 one for each controller."""
        top = Path("/sys/fs/cgroup")
        if (top / "cgroup.controllers").exists():
            return [top]
        return sorted({path.resolve() for path in top.glob("*/") if (path / "cgroup.procs").exists()})

    def cgroups(self) -> list[Path]:
        """The directories of `cgroup` that are there, to remove when its containers are gone."""
        return [root / self.cgroup.strip("/") for root in self.cgroup_roots()]

    def component_kubeconfig(self, name: str) -> Path:
        return self.config / f"{name}.kubeconfig"

    def everything(self) -> list[Path]:
        """What the supervisor removes. Named, so that what a user put beside it stays."""
        sockets = [self.etcd_socket, self.etcd_peer_socket]
        state = [self.etcd, *sockets, self.certificates, self.config, self.kubeconfig, self.logs, self.state]
        return [
            *state,
            *(unfinished(path) for path in (self.kubeconfig, self.state)),
            self.real_node,
            *self.cgroups(),
            self.lock,
        ]  # last: while it is there and locked, nobody else moves in


def etcd(binary: Path, layout: Layout) -> list[str | Path]:
    """etcd without its safety net.

    On Unix sockets in our directory, which is its owner's alone: whoever reaches etcd needs no token to be the
    cluster's master, and a loopback port is open to every user of the machine."""
    client, peer = f"unix://{layout.etcd_socket}", f"unix://{layout.etcd_peer_socket}"
    return [
        binary,
        f"--data-dir={layout.etcd}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        # No write waits for the disk: a crash of the machine may lose the data, which does not outlive the testbed
        # anyway, and a laptop's fsync would be what every benchmark measures.
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def kube_apiserver(
    binary: Path,
    layout: Layout,
    port: int,
    *,
    feature_gates: Mapping[str, bool],
    runtime_config: Mapping[str, str],
    audit_log: Path | None,
    audited_users: Sequence[str],
    extra: Sequence[str],
) -> list[str | Path]:
    """TLS, RBAC, admission and flow control as a cluster has them."""
    argv: list[str | Path] = [
        binary,
        f"--etcd-servers=unix://{layout.etcd_socket}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        "--permit-port-sharing=true",
        f"--cert-dir={layout.certificates}",
        "--authorization-mode=RBAC",
        f"--token-auth-file={layout.tokens}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={layout.service_account_key}",
        f"--service-account-signing-key-file={layout.service_account_key}",
        f"--service-cluster-ip-range={layout.networks[1]}",
        "--allow-privileged=true",
        # It taints every new Node until the controller manager has seen it Ready: a read and a write per node, which on
        # two cores is most of the time that 500 nodes take. Ours are born Ready; another Node that is not is tainted by
        # the controller manager as soon as that sees it.
        "--disable-admission-plugins=TaintNodesByCondition",
        # The default would publish this machine's address in the `kubernetes` Service; nothing listens there.
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
    ]
    if runtime_config:
        argv.append("--runtime-config=" + ",".join(f"{name}={value}" for name, value in runtime_config.items()))
    if audit_log:
        policy = layout.config / "audit-policy.yaml"
        policy.write_text(yaml.safe_dump(_audit_policy(audited_users)))
        argv += [f"--audit-policy-file={policy}", f"--audit-log-path={audit_log.absolute()}"]
        argv.append("--audit-log-maxsize=1000000")  # in MB: it stays one file
    return [*argv, *_gates(feature_gates), *extra]


def kube_controller_manager(
    binary: Path, layout: Layout, port: int, *, feature_gates: Mapping[str, bool], node_grace_seconds: int
) -> list[str | Path]:
    """All controllers that need no cloud."""
    return [
        binary,
        f"--kubeconfig={layout.component_kubeconfig('kube-controller-manager')}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        "--permit-port-sharing=true",
        f"--cert-dir={layout.certificates}",
        *_delegate(layout, "kube-controller-manager"),
        f"--service-account-private-key-file={layout.service_account_key}",
        f"--root-ca-file={layout.ca_file}",
        "--leader-elect=false",
        "--controllers=*,-ttl-controller",  # one write less per node, that no kubelet of today reads
        # Its default of 20 requests a second would be what a test of a thousand Pods waits for.
        "--kube-api-qps=5000",
        "--kube-api-burst=10000",
        f"--node-monitor-grace-period={node_grace_seconds}s",
        *_gates(feature_gates),
    ]


def kube_scheduler(binary: Path, layout: Layout, port: int, *, feature_gates: Mapping[str, bool]) -> list[str | Path]:
    """With the configuration that `write_scheduler_config` wrote."""
    return [
        binary,
        f"--config={layout.config / 'kube-scheduler.yaml'}",
        *_delegate(layout, "kube-scheduler"),
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        "--permit-port-sharing=true",
        f"--cert-dir={layout.certificates}",
        *_gates(feature_gates),
    ]


def write_scheduler_config(layout: Layout, text: str) -> None:
    """The given KubeSchedulerConfiguration, with our kubeconfig in it."""
    config: dict[str, Any] = yaml.safe_load(text) if text.strip() else {}
    config.setdefault("apiVersion", "kubescheduler.config.k8s.io/v1")
    config.setdefault("kind", "KubeSchedulerConfiguration")
    config.setdefault("leaderElection", {"leaderElect": False})
    config.setdefault("clientConnection", {})["kubeconfig"] = str(layout.component_kubeconfig("kube-scheduler"))
    (layout.config / "kube-scheduler.yaml").write_text(yaml.safe_dump(config))


def kwok(binary: Path, layout: Layout) -> list[str | Path]:
    """Listens nowhere: nobody asks it anything."""
    return [
        binary,
        f"--config={layout.config / 'kwok.yaml'}",
        f"--kubeconfig={layout.component_kubeconfig('kwok')}",
    ]


def _audit_policy(users: Sequence[str]) -> dict[str, Any]:
    """All requests, without what is in them; where there are users, theirs and those of nobody who is known."""
    everybody = {"level": "Metadata", "omitStages": ["RequestReceived"]}
    theirs = [everybody | {"users": list(users)}, {"level": "None", "userGroups": ["system:authenticated"]}]
    return {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [*(theirs if users else ()), everybody]}


def _delegate(layout: Layout, name: str) -> list[str]:
    """Asks the API server who may read /metrics."""
    kubeconfig = layout.component_kubeconfig(name)
    # The lookup is for client certificates, of which we have none.
    asks = [f"--authentication-kubeconfig={kubeconfig}", f"--authorization-kubeconfig={kubeconfig}"]
    return [*asks, "--authentication-skip-lookup=true"]


def _gates(feature_gates: Mapping[str, bool]) -> list[str]:
    if not feature_gates:
        return []
    return ["--feature-gates=" + ",".join(f"{name}={str(on).lower()}" for name, on in feature_gates.items())]
