"""A Cluster Autoscaler's side of the wire: clients made at test time from the protos of either generation."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PROTOS = Path(__file__).parent / "protos"
BEFORE, SINCE = "before", "since"  # 1.34.2
GENERATIONS = (BEFORE, SINCE)
_FILES = ("core.proto", "externalgrpc.proto", "expander.proto")


class Wire:
    """The messages and services of one generation: `wire.Node(...)`, and `wire.paths["NodeGroups"]`."""

    def __init__(self, generation: str) -> None:
        self.generation = generation
        self.methods: dict[str, tuple[str, Any, Any]] = {}
        pool = descriptor_pool.DescriptorPool()
        for file in _compiled(generation).file:
            pool.Add(file)
        for name in _FILES:
            described = pool.FindFileByName(name)
            for message in described.message_types_by_name.values():
                setattr(self, message.name, message_factory.GetMessageClass(message))
            for service in described.services_by_name.values():
                for method in service.methods:
                    kinds = map(message_factory.GetMessageClass, (method.input_type, method.output_type))
                    self.methods[method.name] = (f"/{service.full_name}/{method.name}", *kinds)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the protos of {self.generation} have no {name}")


@cache
def wire(generation: str) -> Wire:
    """Made once."""
    return Wire(generation)


def _compiled(generation: str) -> descriptor_pb2.FileDescriptorSet:
    out = subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", f"-I{PROTOS / generation}"),
            *("--include_imports", "--descriptor_set_out=/dev/stdout", *_FILES),
        ],
        check=True,
        capture_output=True,
    )
    return descriptor_pb2.FileDescriptorSet.FromString(out.stdout)


class Autoscaler:
    """Calls nos as Cluster Autoscaler does: `await autoscaler.NodeGroupTargetSize(id="a")`."""

    def __init__(self, generation: str, channel: grpc.aio.Channel) -> None:
        self.wire = wire(generation)
        self._channel = channel

    def __getattr__(self, name: str) -> Any:
        path, question, answer = self.wire.methods[name]
        call = self._channel.unary_unary(path, question.SerializeToString, answer.FromString)

        async def ask(**fields: Any) -> Any:
            return await call(question(**fields), timeout=5.0)  # as it does

        return ask

    async def raw(self, name: str, question: bytes) -> bytes:
        """The bytes of an answer."""
        answer: bytes = await self._channel.unary_unary(self.wire.methods[name][0])(question, timeout=5.0)
        return answer

    def pod(self, uid: str, **requests: str) -> Any:
        """A Pod, as this generation has it within an option."""
        wire = self.wire
        quantities = {name: wire.Quantity(string=text) for name, text in requests.items()}
        pod = wire.Pod(
            metadata=wire.ObjectMeta(name=f"pod-{uid}", namespace="ml", uid=uid),
            spec=wire.PodSpec(
                containers=[wire.Container(name="main", resources=wire.ResourceRequirements(requests=quantities))],
                schedulerName="nos-scheduler",
            ),
        )
        return pod if wire.generation == BEFORE else pod.SerializeToString()

    def option(self, group: str, *pods: Any, count: int = 1) -> Any:
        """One of the groups that would help."""
        field = "pod" if self.wire.generation == BEFORE else "podBytes"
        return self.wire.Option(nodeGroupId=group, nodeCount=count, debug=f"{group} grows", **{field: pods})

    async def best(self, *options: Any) -> list[str]:
        """The groups that the expander leaves."""
        return [option.nodeGroupId for option in (await self.BestOptions(options=options)).options]
