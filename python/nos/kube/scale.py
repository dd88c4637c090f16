"""The scale subresource of any kind that has one: how many it is to have, read and written under its version."""

from urllib.parse import quote

from msgspec import Struct, field
from msgspec.json import Decoder, encode

from nos.kube.client import Client
from nos.kube.errors import ApiError, ConfigError


class _Metadata(Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    resource_version: str = ""


class _Replicas(Struct):
    replicas: int = 0


class Scale(Struct):
    """autoscaling/v1 Scale. spec.replicas: so many are wanted."""

    metadata: _Metadata
    spec: _Replicas = field(default_factory=_Replicas)


class _Resource(Struct):
    name: str
    kind: str
    namespaced: bool = False


class _Resources(Struct):
    resources: list[_Resource]


_scale, _resources = Decoder(Scale).decode, Decoder(_Resources).decode


async def resource_path(client: Client, api_version: str, kind: str, namespace: str, name: str) -> str:
    """The path of an object, from what the API server says of its kind. ConfigError where it has no such kind, or the
    kind has no scale."""
    prefix = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    try:
        found = _resources(await client.request("GET", prefix)).resources
    except ApiError as error:
        if error.status != 404:
            raise
        raise ConfigError(f"{api_version} is not served; correct apiVersion, or install its kinds") from None
    resource = next((one for one in found if one.kind == kind and "/" not in one.name), None)
    if resource is None:
        raise ConfigError(f"the API server has no kind {kind} in {api_version}; correct kind or apiVersion")
    if not any(one.name == f"{resource.name}/scale" for one in found):
        raise ConfigError(f"{api_version} {kind} has no scale subresource, so that its size cannot be set")
    if resource.namespaced != bool(namespace):
        remedy = "name no namespace, it is in none" if namespace else "name its namespace"
        raise ConfigError(f"{api_version} {kind} {name}: {remedy}")
    where = f"namespaces/{quote(namespace, safe='')}/" if namespace else ""
    return f"{prefix}/{where}{resource.name}/{quote(name, safe='')}"


async def read_scale(client: Client, path: str) -> Scale:
    """The scale of the object at the path."""
    return _scale(await client.request("GET", f"{path}/scale"))


async def write_scale(client: Client, path: str, scale: Scale, replicas: int) -> None:
    """Let it have so many; ApiError 409 where it has changed since `scale` was read."""
    metadata = {
        "name": scale.metadata.name,
        "namespace": scale.metadata.namespace,
        "resourceVersion": scale.metadata.resource_version,
    }
    body = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": metadata, "spec": {"replicas": replicas}}
    await client.request("PUT", f"{path}/scale", body=encode(body))
