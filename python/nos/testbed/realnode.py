"""A node that is one: the real kubelet, with containerd and runc under it, on this machine.

    with Testbed() as testbed:
        node = testbed.add_real_node()
        # device plugins go into node.device_plugins; Pods with the image realnode.IMAGE run

Guaranteed: what Testbed guarantees, for containers, mounts and network interfaces as well; a namespace.py holds them.
Pods have addresses that this machine reaches, and reach the API server, at the address of the Service `kubernetes`.
The kubelet's own server is off, so `kubectl logs` and `exec` do not work: `logs` reads the file.
Not guaranteed: a network. Pods reach nothing else, other Services among it.
"""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from . import image, nodes
from .api import Api
from .controlplane import Layout
from .errors import TestbedError
from .process import Supervisor
from .versions import PAUSE

IMAGE = "nos.invalid/pause:1"  # a host that cannot exist: nobody is asked for it
USER = "kubelet"
SCRIPT = Path(__file__).with_name("namespace.py")
RELAY = Path(__file__).with_name("relay.py")
PACKAGES = {
    "containerd": "containerd",
    "containerd-shim-runc-v2": "containerd",
    "ctr": "containerd",
    "runc": "runc",
}
CNI_DIRECTORIES = ("/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni")
CNI_PLUGINS = ("ptp", "host-local", "loopback")

# What the kubelet and ptp would set for the whole machine, and leave so.
KERNEL_PARAMETERS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
    "net/ipv4/ip_forward": "1",
}


def obstacle() -> str | None:
    """Why a real node cannot run here, and the remedy; None when it can."""
    if not sys.platform.startswith("linux"):
        return "a real node needs Linux"
    if missing := sorted({package for program, package in PACKAGES.items() if not shutil.which(program, path=_path())}):
        return f"a real node needs {' and '.join(missing)}: apt install {' '.join(missing)}"
    if _cni_directory() is None:
        return "a real node needs the CNI plugins: apt install containernetworking-plugins"
    if os.geteuid() != 0:
        return "a real node needs root: containers, mounts and cgroups are made for it"
    if refused := subprocess.run([sys.executable, "-I", "-S", SCRIPT, "check"], capture_output=True, text=True).stderr:
        return f"a real node needs the right to make namespaces and mounts (CAP_SYS_ADMIN): {refused.strip()}"
    if not all(os.access(directory, os.W_OK) for directory in Layout.cgroup_roots()):
        return "a real node needs to write to /sys/fs/cgroup, which is read-only here"
    return None


class RealNode:
    """One node, until its testbed ends."""

    def __init__(
        self,
        name: str,
        layout: Layout,
        supervisor: Supervisor,
        start: Callable[[str, Sequence[str | Path], Mapping[str, str] | None], int],
        binaries: Mapping[str, Path],
        api: Api,
        port: int,
        labels: Mapping[str, str],
        timeout: float,
    ) -> None:
        """`port` is the API server's."""
        self.name = name
        self._layout = layout
        self._supervisor = supervisor
        self._start = start
        self._binaries = binaries
        self._api = api
        self._port = port
        self._labels = labels
        self._timeout = timeout
        self._holder = 0

    @property
    def directory(self) -> Path:
        """Everything of this node; `kubelet` in it is what elsewhere is /var/lib/kubelet."""
        return self._layout.real_node

    @property
    def device_plugins(self) -> Path:
        """Where the kubelet listens for device plugins, kubelet.sock, and they for it."""
        return self.directory / "kubelet" / "device-plugins"

    @property
    def pod_resources(self) -> Path:
        """The socket that says which Pod holds which device."""
        return self.directory / "kubelet" / "pod-resources" / "kubelet.sock"

    @property
    def containerd(self) -> Path:
        """containerd's socket, for `ctr --address`; Pods are in its namespace k8s.io."""
        return self.directory / "containerd.sock"

    def logs(self, pod: str, container: str = "main", namespace: str = "default") -> str:
        """What the newest run of a container wrote; empty when there is none."""
        found = self.directory.glob(f"logs/{namespace}_{pod}_*/{container}/*.log")
        try:
            files = sorted(found, key=lambda f: f.stat().st_mtime)
            text = files[-1].read_text() if files else ""
        except FileNotFoundError:  # the kubelet removes it while we look
            return ""
        # As the CRI has it: time, stream, a flag, and the text.
        return "".join(line.split(" ", 3)[3] for line in text.splitlines(True))

    def environment(self, pod: str, container: str = "main", namespace: str = "default") -> dict[str, str]:
        """The environment of a container of our image."""
        lines = (line.partition("=") for line in self.logs(pod, container, namespace).splitlines())
        return {name: value for name, _, value in lines}

    def import_image(self, archive: Path) -> None:
        """Makes an image of a Docker or OCI archive one that Pods can have, by the name that it has in there."""
        command: list[str | Path] = [_program("ctr"), "--address", self.containerd, "--namespace", "k8s.io", "images"]
        done = subprocess.run(
            [*command, "import", "--snapshotter", "native", archive], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise TestbedError(f"containerd refused the image {archive}: {done.stderr.strip()}")

    def stop_kubelet(self, *, kill: bool = False) -> None:
        """Stops the kubelet; Pods go on running."""
        self._supervisor.stop("kubelet", **({"grace": 0.0} if kill else {}))

    def start_kubelet(self) -> None:
        """Starts the kubelet; returns when it listens for device plugins."""
        for socket in (self.device_plugins / "kubelet.sock", self.pod_resources):
            socket.unlink(missing_ok=True)  # so that one that is there is the new one's
        self._run("kubelet", self._kubelet())
        self._supervisor.wait_until(
            lambda: (self.device_plugins / "kubelet.sock").exists() and self.pod_resources.exists(),
            "kubelet",
            what="it listened for device plugins",
            timeout=self._timeout,
        )

    def restart_kubelet(self, *, kill: bool = False) -> None:
        """A new kubelet where the old one was, over the same Pods."""
        self.stop_kubelet(kill=kill)
        self.start_kubelet()

    def start(self) -> None:
        """Brings everything up, and returns when the node is Ready."""
        for part in ("kubelet", "cni", "logs", "cni-state"):
            (self.directory / part).mkdir(parents=True)
        self._write_configuration()
        furniture = json.dumps(self._furniture())
        self._holder = self._start("node", [sys.executable, "-I", "-S", SCRIPT, "hold", furniture], None)
        self._supervisor.wait_until(
            lambda: self._supervisor.log("node").read_text().startswith("ready"),
            "node",
            what="it had its namespaces",
            timeout=self._timeout,
        )
        self._run("containerd", [_program("containerd"), "--config", self.directory / "containerd.toml"])
        self._supervisor.wait_until(self.containerd.exists, "containerd", what="it listened", timeout=self._timeout)
        archive = self.directory / "image.tar"
        image.write_archive(archive, self._binaries[PAUSE].read_bytes(), name=IMAGE)
        self.import_image(archive)
        self._start("relay", [sys.executable, "-I", "-S", RELAY, self._gateway, self._pods, str(self._port)], None)
        self.start_kubelet()
        self._supervisor.wait_until(
            lambda: self.name in nodes.ready_nodes(self._api), "kubelet", what="it was Ready", timeout=self._timeout
        )

    # Inside.

    @property
    def _pods(self) -> str:
        return self._layout.networks[0]

    @property
    def _gateway(self) -> str:
        """This machine's end of every Pod's link has the address of the Service `kubernetes`."""
        return str(ipaddress.ip_network(self._layout.networks[1])[1])

    def _run(self, name: str, argv: Sequence[str | Path]) -> None:
        entered = [sys.executable, "-I", "-S", SCRIPT, "enter", str(self._holder), *argv]
        self._start(name, entered, {**os.environ, "PATH": _path()})  # where containerd finds the shim and runc

    def _furniture(self) -> dict[str, Any]:
        links = {
            "/var/lib/kubelet": "kubelet",  # the device plugins' socket is there whatever --root-dir says
            "/var/lib/cni": "cni-state",
        }
        cgroups = zip(self._layout.cgroup_roots(), self._layout.cgroups(), strict=True)
        return {
            "cgroups": {str(root): str(ours) for root, ours in cgroups},
            "keep": [str(self._layout.directory), str(self._binaries["kubelet"])],
            "links": {path: str(self.directory / part) for path, part in links.items()},
            "files": {f"/proc/sys/{name}": f"{value}\n" for name, value in KERNEL_PARAMETERS.items()},
        }

    def _kubelet(self) -> list[str | Path]:
        return [
            self._binaries["kubelet"],
            f"--config={self.directory / 'kubelet.yaml'}",
            f"--kubeconfig={self._layout.component_kubeconfig(USER)}",
            f"--hostname-override={self.name}",
            "--root-dir=/var/lib/kubelet",
            "--node-labels=" + ",".join(f"{name}={value}" for name, value in self._labels.items()),
        ]

    def _write_configuration(self) -> None:
        (self.directory / "kubelet.yaml").write_text(yaml.safe_dump(self._kubelet_configuration()))
        (self.directory / "containerd.toml").write_text(self._containerd_configuration())
        network = {
            "cniVersion": "0.4.0",
            "name": "nos-testbed",
            "plugins": [
                {
                    "type": "ptp",
                    "ipMasq": False,
                    "ipam": {"type": "host-local", "ranges": [[{"subnet": self._pods, "gateway": self._gateway}]]},
                }
            ],
        }
        (self.directory / "cni" / "10-ptp.conflist").write_text(json.dumps(network))
        resolv = Path("/etc/resolv.conf")  # may be a link into /run, which the node does not see
        (self.directory / "resolv.conf").write_text(resolv.read_text() if resolv.exists() else "")

    def _kubelet_configuration(self) -> dict[str, Any]:
        never = {"memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%"}
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "enableServer": False,  # whoever reaches it runs anything in any Pod, and loopback is everybody's
            "healthzPort": 0,
            "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "containerRuntimeEndpoint": f"unix://{self.containerd}",
            "resolvConf": str(self.directory / "resolv.conf"),
            "podLogsDir": str(self.directory / "logs"),
            "cgroupDriver": "cgroupfs",
            "cgroupsPerQOS": False,
            "enforceNodeAllocatable": [],
            "failCgroupV1": False,
            "failSwapOn": False,
            "makeIPTablesUtilChains": False,
            # A machine that is short of disk is no reason for a test's Pod to go.
            "evictionHard": never | {"nodefs.inodesFree": "0%", "imagefs.inodesFree": "0%"},
            "imageGCHighThresholdPercent": 100,
            "registryPullQPS": 0,
            "eventRecordQPS": 0,
            "kubeAPIQPS": 500,
            "kubeAPIBurst": 1000,
        }

    def _containerd_configuration(self) -> str:
        directory = self.directory

        def text(value: object) -> str:
            return json.dumps(str(value))

        cri = 'plugins."io.containerd.grpc.v1.cri"'
        return f"""version = 2
root = {text(directory / "containerd")}
state = {text(directory / "run")}
oom_score = 0
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.overlayfs"]

[grpc]
address = {text(self.containerd)}

[{cri}]
sandbox_image = {text(IMAGE)}
disable_tcp_service = true
stream_server_address = "127.0.0.1"
stream_server_port = "0"
restrict_oom_score_adj = true

[{cri}.cni]
bin_dir = {text(_cni_directory())}
conf_dir = {text(directory / "cni")}

[{cri}.containerd]
snapshotter = "native"
default_runtime_name = "runc"

[{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[{cri}.containerd.runtimes.runc.options]
BinaryName = {text(_program("runc"))}
SystemdCgroup = false
"""


def _path() -> str:
    return os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin"


def _program(name: str) -> str:
    found = shutil.which(name, path=_path())
    if found is None:
        raise TestbedError(f"{name} is not there: apt install {PACKAGES[name]}")
    return found


def _cni_directory() -> str | None:
    return next((d for d in CNI_DIRECTORIES if all(os.access(Path(d, p), os.X_OK) for p in CNI_PLUGINS)), None)
