import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Nothing(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Group(_message.Message):
    __slots__ = ("id", "min", "max", "debug")
    ID_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    DEBUG_FIELD_NUMBER: _ClassVar[int]
    id: str
    min: int
    max: int
    debug: str
    def __init__(self, id: _Optional[str] = ..., min: _Optional[int] = ..., max: _Optional[int] = ..., debug: _Optional[str] = ...) -> None: ...

class Groups(_message.Message):
    __slots__ = ("groups",)
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    groups: _containers.RepeatedCompositeFieldContainer[Group]
    def __init__(self, groups: _Optional[_Iterable[_Union[Group, _Mapping]]] = ...) -> None: ...

class Node(_message.Message):
    __slots__ = ("provider_id", "name", "labels", "annotations")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class AnnotationsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PROVIDER_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    provider_id: str
    name: str
    labels: _containers.ScalarMap[str, str]
    annotations: _containers.ScalarMap[str, str]
    def __init__(self, provider_id: _Optional[str] = ..., name: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., annotations: _Optional[_Mapping[str, str]] = ...) -> None: ...

class OfNode(_message.Message):
    __slots__ = ("node",)
    NODE_FIELD_NUMBER: _ClassVar[int]
    node: Node
    def __init__(self, node: _Optional[_Union[Node, _Mapping]] = ...) -> None: ...

class GroupOfNode(_message.Message):
    __slots__ = ("group",)
    GROUP_FIELD_NUMBER: _ClassVar[int]
    group: Group
    def __init__(self, group: _Optional[_Union[Group, _Mapping]] = ...) -> None: ...

class OfGroup(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class Size(_message.Message):
    __slots__ = ("target",)
    TARGET_FIELD_NUMBER: _ClassVar[int]
    target: int
    def __init__(self, target: _Optional[int] = ...) -> None: ...

class Change(_message.Message):
    __slots__ = ("delta", "id")
    DELTA_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    delta: int
    id: str
    def __init__(self, delta: _Optional[int] = ..., id: _Optional[str] = ...) -> None: ...

class Deletion(_message.Message):
    __slots__ = ("nodes", "id")
    NODES_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[Node]
    id: str
    def __init__(self, nodes: _Optional[_Iterable[_Union[Node, _Mapping]]] = ..., id: _Optional[str] = ...) -> None: ...

class Instance(_message.Message):
    __slots__ = ("id", "status")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNKNOWN: _ClassVar[Instance.State]
        RUNNING: _ClassVar[Instance.State]
        CREATING: _ClassVar[Instance.State]
        DELETING: _ClassVar[Instance.State]
    UNKNOWN: Instance.State
    RUNNING: Instance.State
    CREATING: Instance.State
    DELETING: Instance.State
    class Failure(_message.Message):
        __slots__ = ("code", "message", "kind")
        CODE_FIELD_NUMBER: _ClassVar[int]
        MESSAGE_FIELD_NUMBER: _ClassVar[int]
        KIND_FIELD_NUMBER: _ClassVar[int]
        code: str
        message: str
        kind: int
        def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ..., kind: _Optional[int] = ...) -> None: ...
    class Status(_message.Message):
        __slots__ = ("state", "failure")
        STATE_FIELD_NUMBER: _ClassVar[int]
        FAILURE_FIELD_NUMBER: _ClassVar[int]
        state: Instance.State
        failure: Instance.Failure
        def __init__(self, state: _Optional[_Union[Instance.State, str]] = ..., failure: _Optional[_Union[Instance.Failure, _Mapping]] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    id: str
    status: Instance.Status
    def __init__(self, id: _Optional[str] = ..., status: _Optional[_Union[Instance.Status, _Mapping]] = ...) -> None: ...

class Instances(_message.Message):
    __slots__ = ("instances",)
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    instances: _containers.RepeatedCompositeFieldContainer[Instance]
    def __init__(self, instances: _Optional[_Iterable[_Union[Instance, _Mapping]]] = ...) -> None: ...

class Template(_message.Message):
    __slots__ = ("node_before", "node")
    NODE_BEFORE_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    node_before: bytes
    node: bytes
    def __init__(self, node_before: _Optional[bytes] = ..., node: _Optional[bytes] = ...) -> None: ...

class NodePrice(_message.Message):
    __slots__ = ("node", "start_before", "end_before", "start", "end")
    NODE_FIELD_NUMBER: _ClassVar[int]
    START_BEFORE_FIELD_NUMBER: _ClassVar[int]
    END_BEFORE_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    node: Node
    start_before: _timestamp_pb2.Timestamp
    end_before: _timestamp_pb2.Timestamp
    start: _timestamp_pb2.Timestamp
    end: _timestamp_pb2.Timestamp
    def __init__(self, node: _Optional[_Union[Node, _Mapping]] = ..., start_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class PodPrice(_message.Message):
    __slots__ = ("pod_before", "start_before", "end_before", "pod", "start", "end")
    POD_BEFORE_FIELD_NUMBER: _ClassVar[int]
    START_BEFORE_FIELD_NUMBER: _ClassVar[int]
    END_BEFORE_FIELD_NUMBER: _ClassVar[int]
    POD_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    pod_before: bytes
    start_before: _timestamp_pb2.Timestamp
    end_before: _timestamp_pb2.Timestamp
    pod: bytes
    start: _timestamp_pb2.Timestamp
    end: _timestamp_pb2.Timestamp
    def __init__(self, pod_before: _Optional[bytes] = ..., start_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., pod: _Optional[bytes] = ..., start: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Price(_message.Message):
    __slots__ = ("dollars",)
    DOLLARS_FIELD_NUMBER: _ClassVar[int]
    dollars: float
    def __init__(self, dollars: _Optional[float] = ...) -> None: ...

class Label(_message.Message):
    __slots__ = ("label",)
    LABEL_FIELD_NUMBER: _ClassVar[int]
    label: str
    def __init__(self, label: _Optional[str] = ...) -> None: ...

class OldDuration(_message.Message):
    __slots__ = ("nanoseconds",)
    NANOSECONDS_FIELD_NUMBER: _ClassVar[int]
    nanoseconds: int
    def __init__(self, nanoseconds: _Optional[int] = ...) -> None: ...

class Options(_message.Message):
    __slots__ = ("utilization", "gpu_utilization", "unneeded_before", "unready_before", "provision_before", "zero_or_max", "ignores_daemon_sets", "unneeded", "unready", "provision")
    UTILIZATION_FIELD_NUMBER: _ClassVar[int]
    GPU_UTILIZATION_FIELD_NUMBER: _ClassVar[int]
    UNNEEDED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    UNREADY_BEFORE_FIELD_NUMBER: _ClassVar[int]
    PROVISION_BEFORE_FIELD_NUMBER: _ClassVar[int]
    ZERO_OR_MAX_FIELD_NUMBER: _ClassVar[int]
    IGNORES_DAEMON_SETS_FIELD_NUMBER: _ClassVar[int]
    UNNEEDED_FIELD_NUMBER: _ClassVar[int]
    UNREADY_FIELD_NUMBER: _ClassVar[int]
    PROVISION_FIELD_NUMBER: _ClassVar[int]
    utilization: float
    gpu_utilization: float
    unneeded_before: OldDuration
    unready_before: OldDuration
    provision_before: OldDuration
    zero_or_max: bool
    ignores_daemon_sets: bool
    unneeded: _duration_pb2.Duration
    unready: _duration_pb2.Duration
    provision: _duration_pb2.Duration
    def __init__(self, utilization: _Optional[float] = ..., gpu_utilization: _Optional[float] = ..., unneeded_before: _Optional[_Union[OldDuration, _Mapping]] = ..., unready_before: _Optional[_Union[OldDuration, _Mapping]] = ..., provision_before: _Optional[_Union[OldDuration, _Mapping]] = ..., zero_or_max: bool = ..., ignores_daemon_sets: bool = ..., unneeded: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., unready: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., provision: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class OptionsQuestion(_message.Message):
    __slots__ = ("id", "defaults")
    ID_FIELD_NUMBER: _ClassVar[int]
    DEFAULTS_FIELD_NUMBER: _ClassVar[int]
    id: str
    defaults: Options
    def __init__(self, id: _Optional[str] = ..., defaults: _Optional[_Union[Options, _Mapping]] = ...) -> None: ...

class OptionsAnswer(_message.Message):
    __slots__ = ("options",)
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    options: Options
    def __init__(self, options: _Optional[_Union[Options, _Mapping]] = ...) -> None: ...
