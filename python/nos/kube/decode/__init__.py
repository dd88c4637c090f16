"""JSON to core: what a Pod or a Node means to the scheduler.

In comes a decoded struct, out goes a value of `nos._core`. Pods of one template differ only in names, so the meaning of
a spec is remembered under the raw bytes that decide it, and equal Pods share one PodSpec: the core then scores them
once. A spec that the core refuses (absurd quantities, unknown operators) never raises here: a waiting Pod becomes one
that waits with a Reason, a bound one counts as much as can be counted, and a node takes no newcomers.
"""

from nos.kube.decision import gpus, instances
from nos.kube.decode.bound import Bound, bound, bound_spec, bound_spec_of
from nos.kube.decode.metadata import (
    CAPACITY_LABEL,
    IN_QUOTA,
    OVER_QUOTA,
    Owner,
    capacity,
    controller,
    created,
    labels,
    pod_labels,
)
from nos.kube.decode.mobility import WITH_ITS_NODE, stays
from nos.kube.decode.movable import MOVABLE_ANNOTATION, movable
from nos.kube.decode.node import node_spec
from nos.kube.decode.spread import DefaultSpread
from nos.kube.decode.waiting import (
    Template,
    moving_spec_of,
    requests_of,
    spec_asking,
    spec_of,
    template,
    waiting_spec,
)

__all__ = [
    "CAPACITY_LABEL",
    "IN_QUOTA",
    "MOVABLE_ANNOTATION",
    "OVER_QUOTA",
    "WITH_ITS_NODE",
    "Bound",
    "DefaultSpread",
    "Owner",
    "Template",
    "bound",
    "bound_spec",
    "bound_spec_of",
    "capacity",
    "controller",
    "created",
    "gpus",
    "instances",
    "labels",
    "movable",
    "moving_spec_of",
    "node_spec",
    "pod_labels",
    "requests_of",
    "spec_asking",
    "spec_of",
    "stays",
    "template",
    "waiting_spec",
]
