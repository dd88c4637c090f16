from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Empty(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Options(_message.Message):
    __slots__ = ("pre_start_required", "preferred_allocation_available")
    PRE_START_REQUIRED_FIELD_NUMBER: _ClassVar[int]
    PREFERRED_ALLOCATION_AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    pre_start_required: bool
    preferred_allocation_available: bool
    def __init__(self, pre_start_required: bool = ..., preferred_allocation_available: bool = ...) -> None: ...

class RegisterRequest(_message.Message):
    __slots__ = ("version", "endpoint", "resource", "options")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    version: str
    endpoint: str
    resource: str
    options: Options
    def __init__(self, version: _Optional[str] = ..., endpoint: _Optional[str] = ..., resource: _Optional[str] = ..., options: _Optional[_Union[Options, _Mapping]] = ...) -> None: ...

class DeviceList(_message.Message):
    __slots__ = ("devices",)
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    devices: _containers.RepeatedCompositeFieldContainer[Device]
    def __init__(self, devices: _Optional[_Iterable[_Union[Device, _Mapping]]] = ...) -> None: ...

class Device(_message.Message):
    __slots__ = ("id", "health", "topology")
    ID_FIELD_NUMBER: _ClassVar[int]
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    TOPOLOGY_FIELD_NUMBER: _ClassVar[int]
    id: str
    health: str
    topology: Topology
    def __init__(self, id: _Optional[str] = ..., health: _Optional[str] = ..., topology: _Optional[_Union[Topology, _Mapping]] = ...) -> None: ...

class Topology(_message.Message):
    __slots__ = ("nodes",)
    NODES_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[NumaNode]
    def __init__(self, nodes: _Optional[_Iterable[_Union[NumaNode, _Mapping]]] = ...) -> None: ...

class NumaNode(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: int
    def __init__(self, id: _Optional[int] = ...) -> None: ...

class PreferenceRequest(_message.Message):
    __slots__ = ("containers",)
    class Container(_message.Message):
        __slots__ = ("available", "must_include", "size")
        AVAILABLE_FIELD_NUMBER: _ClassVar[int]
        MUST_INCLUDE_FIELD_NUMBER: _ClassVar[int]
        SIZE_FIELD_NUMBER: _ClassVar[int]
        available: _containers.RepeatedScalarFieldContainer[str]
        must_include: _containers.RepeatedScalarFieldContainer[str]
        size: int
        def __init__(self, available: _Optional[_Iterable[str]] = ..., must_include: _Optional[_Iterable[str]] = ..., size: _Optional[int] = ...) -> None: ...
    CONTAINERS_FIELD_NUMBER: _ClassVar[int]
    containers: _containers.RepeatedCompositeFieldContainer[PreferenceRequest.Container]
    def __init__(self, containers: _Optional[_Iterable[_Union[PreferenceRequest.Container, _Mapping]]] = ...) -> None: ...

class PreferenceResponse(_message.Message):
    __slots__ = ("containers",)
    class Container(_message.Message):
        __slots__ = ("devices",)
        DEVICES_FIELD_NUMBER: _ClassVar[int]
        devices: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, devices: _Optional[_Iterable[str]] = ...) -> None: ...
    CONTAINERS_FIELD_NUMBER: _ClassVar[int]
    containers: _containers.RepeatedCompositeFieldContainer[PreferenceResponse.Container]
    def __init__(self, containers: _Optional[_Iterable[_Union[PreferenceResponse.Container, _Mapping]]] = ...) -> None: ...

class AllocateRequest(_message.Message):
    __slots__ = ("containers",)
    class Container(_message.Message):
        __slots__ = ("devices",)
        DEVICES_FIELD_NUMBER: _ClassVar[int]
        devices: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, devices: _Optional[_Iterable[str]] = ...) -> None: ...
    CONTAINERS_FIELD_NUMBER: _ClassVar[int]
    containers: _containers.RepeatedCompositeFieldContainer[AllocateRequest.Container]
    def __init__(self, containers: _Optional[_Iterable[_Union[AllocateRequest.Container, _Mapping]]] = ...) -> None: ...

class AllocateResponse(_message.Message):
    __slots__ = ("containers",)
    class CdiDevice(_message.Message):
        __slots__ = ("name",)
        NAME_FIELD_NUMBER: _ClassVar[int]
        name: str
        def __init__(self, name: _Optional[str] = ...) -> None: ...
    class Container(_message.Message):
        __slots__ = ("environment", "cdi_devices")
        class EnvironmentEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: str
            def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
        ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
        CDI_DEVICES_FIELD_NUMBER: _ClassVar[int]
        environment: _containers.ScalarMap[str, str]
        cdi_devices: _containers.RepeatedCompositeFieldContainer[AllocateResponse.CdiDevice]
        def __init__(self, environment: _Optional[_Mapping[str, str]] = ..., cdi_devices: _Optional[_Iterable[_Union[AllocateResponse.CdiDevice, _Mapping]]] = ...) -> None: ...
    CONTAINERS_FIELD_NUMBER: _ClassVar[int]
    containers: _containers.RepeatedCompositeFieldContainer[AllocateResponse.Container]
    def __init__(self, containers: _Optional[_Iterable[_Union[AllocateResponse.Container, _Mapping]]] = ...) -> None: ...
