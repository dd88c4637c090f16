"""The gRPC server that Cluster Autoscaler asks."""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from nos.autoscaler.cluster_autoscaler import expander_pb2
from nos.autoscaler.cluster_autoscaler import provider_pb2 as wire
from nos.autoscaler.cluster_autoscaler.expander import Expander
from nos.autoscaler.cluster_autoscaler.front import Front, FrontError, Why
from nos.autoscaler.cluster_autoscaler.plan import Plan
from nos.autoscaler.cluster_autoscaler.provider import Provider
from nos.autoscaler.cluster_autoscaler.settings import ClusterAutoscalerSettings
from nos.kube.errors import ConfigError

_GRACE_S = 5.0  # for what is being answered when the server stops
_MOST_BYTES = 256 * 2**20  # of a question: it has all Pods that wait, once for each group
_PROVIDER = "clusterautoscaler.cloudprovider.v1.externalgrpc.CloudProvider"
_SECTION = "scaling.clusterAutoscaler"
_CODES = {
    Why.UNKNOWN: grpc.StatusCode.NOT_FOUND,
    Why.WRONG: grpc.StatusCode.INVALID_ARGUMENT,
    Why.FORBIDDEN: grpc.StatusCode.FAILED_PRECONDITION,
    Why.REFUSED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Why.SILENT: grpc.StatusCode.UNAVAILABLE,
    Why.LATE: grpc.StatusCode.DEADLINE_EXCEEDED,
}

_log = logging.getLogger(__name__)

_Question = TypeVar("_Question", bound=Message)
_Files = tuple[bytes, bytes, bytes]  # key, certificate, and the CA of clients


@asynccontextmanager
async def serve(
    settings: ClusterAutoscalerSettings, plan: Callable[[], Plan | None], front: Front | None
) -> AsyncIterator[str]:
    """Serve; yields the address that it got (for port 0). front: whose groups are scaled; without one nos only says
    which are to grow. It has to run beside. Raises ConfigError."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", _MOST_BYTES), ("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((_expander(Expander(plan)),))
    if front:
        server.add_generic_rpc_handlers((_provider(Provider(front)),))
    address = f"{settings.address.rpartition(':')[0]}:{_bound(server, settings)}"
    await server.start()
    _log.info("Cluster Autoscaler is answered on %s", address)
    try:
        yield address
    finally:
        await server.stop(_GRACE_S)


def _bound(server: grpc.aio.Server, settings: ClusterAutoscalerSettings) -> int:
    try:
        if not settings.cert_file:
            return server.add_insecure_port(settings.address)
        return server.add_secure_port(settings.address, _credentials(settings))
    except RuntimeError:
        raise ConfigError(
            f"{_SECTION}.address: {settings.address} cannot be served; is it of this machine, and nobody else on it?"
        ) from None


def _credentials(settings: ClusterAutoscalerSettings) -> grpc.ServerCredentials:
    """The files, and what they become when they change."""
    used = _files(settings)

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal used
        try:
            there = _files(settings)
        except ConfigError as error:
            _log.warning("the certificate in use is kept: %s", error)
            return None
        if there == used:
            return None
        used = there
        return _configuration(there)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(used),
        renewed,  # type: ignore[arg-type]  # it may answer that nothing has changed
        require_client_authentication=bool(settings.client_ca_file),
    )


def _configuration(files: _Files) -> grpc.ServerCertificateConfiguration:
    key, cert, ca = files
    return grpc.ssl_server_certificate_configuration([(key, cert)], ca or None)


def _files(settings: ClusterAutoscalerSettings) -> _Files:
    """Raises ConfigError where they are not what they should be."""
    cert, key, ca = settings.cert_file, settings.key_file, settings.client_ca_file
    for what, file in (("certFile", cert), ("keyFile", key), ("clientCaFile", ca)):
        if file:
            _checked(what, file, lambda file=file: Path(file).read_bytes())  # type: ignore[misc]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _checked("certFile and keyFile", f"{cert}, {key}", lambda: context.load_cert_chain(cert, key, password=_unknown))
    if ca:
        _checked("clientCaFile", ca, lambda: context.load_verify_locations(cafile=ca))
    return Path(key).read_bytes(), Path(cert).read_bytes(), Path(ca).read_bytes() if ca else b""


def _unknown() -> str:
    raise ValueError("the key has a password, which nos does not know")


def _checked(what: str, file: str, load: Callable[[], object]) -> None:
    try:
        load()
    except (OSError, ValueError) as error:
        said = "no PEM that belongs together" if isinstance(error, ssl.SSLError) else error
        raise ConfigError(f"{_SECTION}.{what}: {file}: {said}; name readable PEM files of that kind") from None


def _expander(expander: Expander) -> grpc.GenericRpcHandler[Any, Any]:
    async def best(question: bytes, _: object) -> expander_pb2.Answer:
        return await expander.best(question)

    handler = grpc.unary_unary_rpc_method_handler(best, None, expander_pb2.Answer.SerializeToString)
    return grpc.method_handlers_generic_handler("grpcplugin.Expander", {"BestOptions": handler})


def _provider(provider: Provider) -> grpc.GenericRpcHandler[Any, Any]:
    return grpc.method_handlers_generic_handler(
        _PROVIDER,
        {
            "NodeGroups": _handler(provider.groups, wire.Nothing),
            "NodeGroupForNode": _handler(provider.group_of_node, wire.OfNode),
            "PricingNodePrice": _handler(provider.node_price, wire.NodePrice),
            "PricingPodPrice": _handler(provider.pod_price, wire.PodPrice),
            "GPULabel": _handler(provider.gpu_label, wire.Nothing),
            "GetAvailableGPUTypes": _handler(provider.nothing, wire.Nothing),
            "Cleanup": _handler(provider.nothing, wire.Nothing),
            "Refresh": _handler(provider.refresh, wire.Nothing),
            "NodeGroupTargetSize": _handler(provider.size, wire.OfGroup),
            "NodeGroupIncreaseSize": _handler(provider.increase, wire.Change),
            "NodeGroupDeleteNodes": _handler(provider.delete, wire.Deletion),
            "NodeGroupDecreaseTargetSize": _handler(provider.decrease, wire.Change),
            "NodeGroupNodes": _handler(provider.instances, wire.OfGroup),
            "NodeGroupTemplateNodeInfo": _handler(provider.template, wire.OfGroup),
            "NodeGroupGetOptions": _handler(provider.options, wire.OptionsQuestion),
        },
    )


def _handler(method: Callable[[_Question], Awaitable[Message]], kind: type[_Question]) -> Any:
    async def answer(question: _Question, context: grpc.aio.ServicerContext[_Question, Message]) -> Message:
        try:
            return await method(question)
        except FrontError as error:
            await context.abort(_CODES[error.why], str(error))

    return grpc.unary_unary_rpc_method_handler(answer, kind.FromString, lambda said: said.SerializeToString())
