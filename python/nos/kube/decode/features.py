"""The features that a node must declare to run a Pod, inferred as k8s.io/component-helpers/nodedeclaredfeatures does.

Of those that it knows in 1.37 three have a say in scheduling; the others concern updates of running Pods.
"""

from collections.abc import Iterator

from msgspec import Struct
from msgspec.json import Decoder

from nos.kube.pod import Container, Pod


class _Rule(Struct):
    action: str = ""


class _Mount(Struct, rename="camel"):
    bind_mount_options: list[str] | None = None


_rules = Decoder(list[_Rule] | None).decode
_mounts = Decoder(list[_Mount] | None).decode


def features(pod: Pod) -> tuple[str, ...]:
    """In alphabetical order."""
    return tuple(_found(pod))


def _found(pod: Pod) -> Iterator[str]:
    spec = pod.spec
    containers = spec.containers + spec.init_containers
    if any(map(_restarts_all, containers)):
        yield "RestartAllContainersOnContainerExits"
    if spec.host_network and spec.host_users is False:
        yield "UserNamespacesHostNetworkSupport"
    if any(map(_has_mount_options, containers + spec.ephemeral_containers)):
        yield "VolumeBindMountOptions"


def _restarts_all(container: Container) -> bool:
    raw = container.restart_policy_rules
    return b"RestartAllContainers" in bytes(raw) and any(r.action == "RestartAllContainers" for r in _rules(raw) or ())


def _has_mount_options(container: Container) -> bool:
    raw = container.volume_mounts
    return b'"bindMountOptions"' in bytes(raw) and any(mount.bind_mount_options for mount in _mounts(raw) or ())
