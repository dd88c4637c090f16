"""A whole Kubernetes control plane, as a context manager.

    with Testbed() as testbed:
        testbed.add_nodes({"8xH100": 40, "2xT4": 10})
        testbed.kubectl("get", "nodes")

Arrives: which parts, which feature gates, which users. Leaves: a kubeconfig, tokens, an API server at `server` that
answers with TLS and RBAC, and nodes that run Pods without running anything. Guaranteed: loopback ports and a directory
of its own, so that several run side by side, and nothing of it left however this process ends. `async with` does the
same from an event loop.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml

from nos.kube import crds

from . import binaries, controlplane, credentials, karpenter, kueue, kwok, nodes, realnode, state, versions
from .api import Api, Object
from .errors import TestbedError
from .gpus import SimulatedGpus
from .karpenter import InstanceType, Karpenter
from .kueue import Kueue
from .process import Supervisor, interrupts_held, tail
from .progress import Progress
from .realnode import RealNode
from .supervisor import remove

NOS_USER, NOS_GROUPS = credentials.service_account("nos-system", "nos-scheduler")


class Testbed:
    """etcd, kube-apiserver, kube-controller-manager, and on request kube-scheduler and kwok."""

    __test__ = False  # the name is not a test class

    def __init__(
        self,
        state_dir: Path | None = None,
        *,
        scheduler: bool | str = True,
        kwok: bool = True,
        feature_gates: Mapping[str, bool] | None = None,
        runtime_config: Mapping[str, str] | None = None,
        audit_log: Path | None = None,
        audited_users: Sequence[str] = (),
        users: Mapping[str, Sequence[str]] | None = None,
        apiserver_args: Sequence[str] = (),
        lease_seconds: int = 240,
        keep: bool = False,
        timeout: float = 120.0,
        progress: Progress | None = None,
    ) -> None:
        """`scheduler` may be the text of a KubeSchedulerConfiguration. `audit_log` gets all requests, or, where there
        are `audited_users`, theirs and those without a valid token. `users` are names and their groups, beside the
        admin and nos-scheduler's service account. `lease_seconds` is how long a node may be silent; the default of a
        kubelet, 40, costs 50 writes a second on 500 nodes. `keep` leaves the directory, with all logs, in place."""
        self._wanted_directory = state_dir
        self._scheduler = scheduler
        self._kwok = kwok
        self._feature_gates = dict(feature_gates or {})
        self._runtime_config = dict(runtime_config or {})
        self._audit_log = audit_log
        self._audited_users = tuple(audited_users)
        self._users = {**credentials.USERS, NOS_USER: NOS_GROUPS, **(users or {})}
        self._apiserver_args = list(apiserver_args)
        self._lease_seconds = lease_seconds
        self._keep = keep
        self._timeout = timeout
        self._progress = progress or Progress()
        self._next_number: dict[str, int] = {}
        self._supervisor: Supervisor | None = None
        self._state: state.State | None = None
        self._cancelled = False
        self.tokens: dict[str, str] = {}
        self.real_node: RealNode | None = None

    # What the tests need to know.

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig of the admin."""
        return self.layout.kubeconfig

    @property
    def server(self) -> str:
        """The API server's URL."""
        return f"https://127.0.0.1:{self.ports['kube-apiserver']}"

    @property
    def ca_file(self) -> Path:
        """The certificate authority of `server`."""
        return self.layout.ca_file

    @property
    def token(self) -> str:
        """The admin's token; `tokens` has everybody's."""
        return self.tokens[credentials.ADMIN]

    @property
    def state_dir(self) -> Path:
        """Where the logs are, in logs/."""
        return self.layout.directory

    def kubeconfig_of(self, user: str = NOS_USER) -> Path:
        """A kubeconfig of one of the users; without an argument, of nos-scheduler's service account."""
        path = self.layout.component_kubeconfig(f"user-{user.replace(':', '-')}")
        credentials.write_kubeconfig(path, server=self.server, ca_file=self.ca_file, user=user, token=self.tokens[user])
        return path

    # Coming and going.

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        try:
            await asyncio.to_thread(self.start)
        except BaseException:
            self._cancelled = True  # before stop(): the thread makes no supervisor that this stop() does not see
            self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    def start(self) -> None:
        """Brings everything up, and returns when it answers."""
        names = ["etcd", "kube-apiserver", "kubectl", "kube-controller-manager"]
        names += ["kube-scheduler"] if self._scheduler else []
        names += ["kwok"] if self._kwok else []
        self._binaries = binaries.ensure(names, self._progress, self._check_wanted)
        with interrupts_held() as release:
            self.layout, lock = state.move_in(self._wanted_directory)
            try:
                release()  # from here on what we made is removed
                self._bring_up(lock)
            except BaseException:
                if self._supervisor is None:  # which would have done it
                    remove([str(path) for path in self.layout.everything()])
                self.stop()
                raise
            finally:
                os.close(lock)  # the supervisor has its own

    def stop(self) -> None:
        """Stops everything and removes its directory. Harmless when done before."""
        if self._supervisor:
            if self._state:
                self.api.close()
            self._supervisor.close()
            self._supervisor = None

    def detach(self) -> None:
        """Lets the testbed outlive this process, until `state.down`."""
        self._running.detach()
        self.api.close()
        self._supervisor = None

    # What a test does with it.

    def add_nodes(
        self,
        shapes: Mapping[str, int],
        *,
        taint: bool = True,
        labels: Mapping[str, str] | None = None,
        mig_strategy: str = "mixed",
    ) -> list[str]:
        """Adds simulated nodes, such as {"8xH100": 40}, and waits until they are Ready; their names."""
        made = []
        for written, count in shapes.items():
            shape = nodes.shape_name(*nodes.parse_shape(written))  # 8xh100 and 8xH100 share their numbers
            first = self._next_number.get(shape, 0)
            self._next_number[shape] = first + count
            numbers = range(first, first + count)
            made += [nodes.make_node(shape, n, taint=taint, labels=labels, mig_strategy=mig_strategy) for n in numbers]
        nodes.create_nodes(self.api, made, self._progress)
        return [node["metadata"]["name"] for node in made]

    def add_real_node(self, name: str = "real-0", *, labels: Mapping[str, str] | None = None) -> RealNode:
        """Adds a node with a real kubelet, and waits until it is Ready. One, and it needs root: `realnode.obstacle`
        says what is missing."""
        if self.real_node:
            raise TestbedError(f"this testbed has a real node already, {self.real_node.name}")
        if problem := realnode.obstacle():
            raise TestbedError(problem)
        self._binaries |= binaries.ensure(versions.REAL_NODE, self._progress, self._check_wanted)
        node = realnode.RealNode(
            name,
            self.layout,
            self._running,
            self._start,
            self._binaries,
            self.api,
            self.ports["kube-apiserver"],
            labels or {},
            self._timeout,
        )
        with self._progress.step("starting a real node"):
            node.start()
        self.real_node = node
        return node

    def add_gpus(self, models: Sequence[str], *, kubeconfig: Path | None = None) -> SimulatedGpus:
        """Gives the real node simulated GPUs, by ids of nos.mig such as `a100-40gb`, and starts the agent that cuts
        them, with `kubeconfig` or the admin's."""
        if self.real_node is None:
            raise TestbedError("simulated GPUs are cut on a real node: add that first")
        self.install_crds()
        made = SimulatedGpus(
            self.real_node, models, self._running, self._start, self.api, kubeconfig or self.kubeconfig
        )
        made.label_node()
        with self._progress.step("starting the agent"):
            made.start_agent()
        return made

    def add_karpenter(
        self,
        instance_types: Sequence[InstanceType],
        *,
        feature_gates: Mapping[str, bool] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Karpenter:
        """Adds Karpenter's kinds, and runs Karpenter with machines of these types; returns when it is ready.
        `environment` has more of its settings."""
        self._binaries |= binaries.ensure((versions.KARPENTER_KWOK,), self._progress, self._check_wanted)
        self._serve(karpenter.crds())
        made = Karpenter(
            self._binaries[versions.KARPENTER_KWOK],
            self.layout.config,
            self._running,
            self._start,
            self.kubeconfig,
            instance_types,
            feature_gates or {},
            environment or {},
            self._timeout,
        )
        with self._progress.step("starting Karpenter"):
            made.start()
        return made

    def add_kueue(self) -> Kueue:
        """Adds Kueue's kinds and ProvisioningRequest, and runs Kueue; returns when it is ready."""
        self._binaries |= binaries.ensure((kueue.NAME,), self._progress, self._check_wanted)
        self._serve(kueue.crds())
        made = Kueue(
            self._binaries[kueue.NAME],
            self.layout.config,
            self._running,
            self._start,
            self.kubeconfig,
            self.api,
            self._timeout,
        )
        with self._progress.step("starting Kueue"):
            made.start()
        return made

    def install_crds(self) -> None:
        """Adds the kinds that nos brings, and returns when they are served."""
        self._serve([yaml.safe_load(file.read_text()) for file in crds.FILES])

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """What `kubectl ARGUMENTS` prints, as the admin."""
        done = subprocess.run(
            [self._binaries["kubectl"], f"--kubeconfig={self.kubeconfig}", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise TestbedError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def stop_apiserver(self, *, kill: bool = False) -> None:
        """Stops the API server; `kill` gives it no time to say goodbye."""
        self.api.close()
        self._running.stop("kube-apiserver", **({"grace": 0.0} if kill else {}))

    def start_apiserver(self) -> None:
        """Starts the API server, over the same etcd, on the same port."""
        argv = controlplane.kube_apiserver(
            self._binaries["kube-apiserver"],
            self.layout,
            self.ports["kube-apiserver"],
            feature_gates=self._feature_gates,
            runtime_config=self._runtime_config,
            audit_log=self._audit_log,
            audited_users=self._audited_users,
            extra=self._apiserver_args,
        )
        self._start("kube-apiserver", argv)
        self._running.wait_until(self._apiserver_ready, "kube-apiserver", what="it was ready", timeout=self._timeout)

    def restart_apiserver(self, *, kill: bool = False) -> None:
        """A new API server where the old one was: what its clients see is an outage."""
        self.stop_apiserver(kill=kill)
        self.start_apiserver()

    def stop_scheduler(self) -> None:
        """Stops kube-scheduler."""
        self._running.stop("kube-scheduler")

    def start_scheduler(self, config: str = "") -> None:
        """Starts kube-scheduler with the text of a KubeSchedulerConfiguration; its kubeconfig is filled in."""
        controlplane.write_scheduler_config(self.layout, config)
        port = self.ports["kube-scheduler"]
        if "kube-scheduler" not in self._binaries:
            self._binaries |= binaries.ensure(["kube-scheduler"], self._progress)
        binary = self._binaries["kube-scheduler"]
        self._start(
            "kube-scheduler",
            controlplane.kube_scheduler(binary, self.layout, port, feature_gates=self._feature_gates),
        )
        self._await_component("kube-scheduler", "/readyz")

    def start_program(self, name: str, argv: Sequence[str | Path], *, ready: Callable[[Path], bool]) -> int:
        """Runs a program of the caller's beside the others, under the same promise: it ends when the testbed does.
        Returns when `ready`, which is given its log, says so; its process id."""
        pid = self._start(name, argv)
        log = self._running.log(name)
        self._running.wait_until(lambda: ready(log), name, what="it was ready", timeout=self._timeout)
        return pid

    def stop_program(self, name: str) -> None:
        """Stops it."""
        self._running.stop(name)

    def check(self) -> None:
        """TestbedError when a part of it has ended."""
        for name, code in self._running.exited().items():
            log = self._running.log(name)
            raise TestbedError(f"{name} ended with code {code}. The end of {log}:\n{tail(log)}")

    # Inside.

    def _serve(self, kinds: Sequence[Object]) -> None:
        for crd in kinds:
            self.api.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
            spec = crd["spec"]
            path = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"
            self._await("kube-apiserver", self.api, path)

    def _bring_up(self, lock: int) -> None:
        layout = self.layout
        for directory in (layout.logs, layout.config, layout.certificates):
            directory.mkdir(mode=0o700)
        with self._progress.step("starting the control plane"):
            rubbish = layout.cgroups() if self._keep else layout.everything()
            self._supervisor = Supervisor(layout.logs, ports=3, remove=rubbish, hold=[lock])
            self._check_wanted()
            components = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
            self.ports = dict(zip(components, self._supervisor.ports, strict=True))
            self.tokens = credentials.write_tokens(layout.tokens, self._users)
            self.api = Api(self.ports["kube-apiserver"], self.token, layout.ca_file)
            self._state = state.State(state.Process.of(self._supervisor.pid), server=self.server, ports=self.ports)
            self._state.write(layout)
            credentials.write_service_account_key(layout.service_account_key)

            self._start("etcd", controlplane.etcd(self._binaries["etcd"], layout))
            self.start_apiserver()
            self._write_kubeconfigs()
            self._start_clients()
            # A Pod in the namespace `default` is refused until it has its service account.
            self._await("kube-controller-manager", self.api, "/api/v1/namespaces/default/serviceaccounts/default")
            self._state.ready = True
            self._state.write(layout)

    def _start_clients(self) -> None:
        layout = self.layout
        argv = controlplane.kube_controller_manager(
            self._binaries["kube-controller-manager"],
            layout,
            self.ports["kube-controller-manager"],
            feature_gates=self._feature_gates,
            node_grace_seconds=max(50, self._lease_seconds * 5 // 4),
        )
        self._start("kube-controller-manager", argv)
        if self._kwok:
            kwok.write_config(layout.config / "kwok.yaml", lease_seconds=self._lease_seconds)
            self._start("kwok", controlplane.kwok(self._binaries["kwok"], layout))
        if self._scheduler:
            self.start_scheduler(self._scheduler if isinstance(self._scheduler, str) else "")
        self._await_component("kube-controller-manager", "/healthz")

    def _write_kubeconfigs(self) -> None:
        users = {
            self.layout.kubeconfig: credentials.ADMIN,
            self.layout.component_kubeconfig("kube-controller-manager"): "system:kube-controller-manager",
            self.layout.component_kubeconfig("kube-scheduler"): "system:kube-scheduler",
            self.layout.component_kubeconfig("kwok"): "kwok",
            self.layout.component_kubeconfig("kubelet"): "kubelet",
        }
        for path, user in users.items():
            credentials.write_kubeconfig(
                path, server=self.server, ca_file=self.ca_file, user=user, token=self.tokens[user]
            )

    def _check_wanted(self) -> None:
        if self._cancelled:
            raise TestbedError("the start was cancelled")

    @property
    def _running(self) -> Supervisor:
        if self._supervisor is None:
            raise TestbedError("the testbed is not running")
        return self._supervisor

    def _start(self, name: str, argv: Sequence[str | Path], env: Mapping[str, str] | None = None) -> int:
        pid = self._running.start(name, argv, env=env)
        assert self._state is not None
        self._state.processes[name] = state.Process.of(pid)
        self._state.write(self.layout)
        return pid

    def _apiserver_ready(self) -> bool:
        known = self.layout.ca_file.exists()
        known = known or credentials.write_ca(self.layout.ca_file, self.layout.apiserver_certificate)
        return known and self.api.answers("/readyz")

    def _await(self, name: str, api: Api, path: str) -> None:
        self._running.wait_until(lambda: api.answers(path), name, what=f"it answered at {path}", timeout=self._timeout)

    def _await_component(self, name: str, path: str) -> None:
        # Each makes its own certificate, at its first start, and is asked on its own port.
        api = Api(self.ports[name], self.token, self.layout.certificates / f"{name}.crt")
        try:
            self._await(name, api, path)
        finally:
            api.close()
