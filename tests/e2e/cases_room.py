"""What is easy to get wrong about how much room a Pod takes, and a node has, each case with the answer.

From the documentation of Kubernetes and from its source; that kube-scheduler gives these answers is tested too.
"""

from __future__ import annotations

from tests.e2e.case import Case, NotTaken, asks, container, kubelet_says, node, of, pod, port, with_port
from tests.e2e.world import Resident

_CPUS = of({"one": "1", "two": "2", "three": "3", "four": "4"})
_GPU, _FPGA = "nvidia.com/gpu", "example.com/fpga"

_TAKEN_PORTS = [
    ("any", Resident(with_port(80), "")),
    ("one", Resident(with_port(80, "10.0.0.1"), "")),
    ("six", Resident(with_port(80, "::"), "")),
    ("udp", Resident(with_port(80, "", "UDP"), "")),
    ("sidecar", Resident(pod(init=[container(sidecar=True, ports=[port(80)])]), "")),
    ("init", Resident(pod(init=[container(ports=[port(80)])]), "")),
    ("done", Resident(with_port(80), "", phase="Succeeded")),
    ("going", Resident(with_port(80), "", terminating=True)),
]
_PORTS = {name: node() for name in ("free", *(name for name, _ in _TAKEN_PORTS))}

_HOST_PORTS = [
    Case("any-address", with_port(80), _PORTS, {"free", "udp", "init", "done"}, _TAKEN_PORTS),
    Case("zero-address", with_port(80, "0.0.0.0"), _PORTS, {"free", "udp", "init", "done"}, _TAKEN_PORTS),
    Case("the-same-address", with_port(80, "10.0.0.1"), _PORTS, {"free", "six", "udp", "init", "done"}, _TAKEN_PORTS),
    Case(
        "another-address",
        with_port(80, "10.0.0.2"),
        _PORTS,
        {"free", "one", "six", "udp", "init", "done"},
        _TAKEN_PORTS,
    ),
    Case(
        "any-address-of-ipv6-is-an-address",
        with_port(80, "::1"),
        _PORTS,
        {"free", "one", "six", "udp", "init", "done"},
        _TAKEN_PORTS,
    ),
    Case("another-protocol", with_port(80, "", "SCTP"), _PORTS, set(_PORTS), _TAKEN_PORTS),
    Case("another-port", with_port(81), _PORTS, set(_PORTS), _TAKEN_PORTS),
    Case("port-of-an-init-container", pod(init=[container(ports=[port(80)])]), _PORTS, set(_PORTS), _TAKEN_PORTS),
    Case(
        "port-of-a-sidecar",
        pod(init=[container(sidecar=True, ports=[port(80)])]),
        _PORTS,
        {"free", "udp", "init", "done"},
        _TAKEN_PORTS,
    ),
    Case(
        "host-network",
        pod(container(ports=[{"containerPort": 80}]), hostNetwork=True),
        _PORTS,
        {"free", "udp", "init", "done"},
        _TAKEN_PORTS,
    ),
]

_ROOM = [
    Case(
        "no-slots",
        pod(),
        {"none": node({"pods": "0"}), "unsaid": node({"pods": ""}), "one": node({"pods": "1"})},
        {"one"},
    ),
    Case(
        "slots-taken",
        pod(),
        {name: node({"pods": "1"}) for name in ("taken", "done", "failed", "going")},
        {"done", "failed"},
        [
            ("taken", Resident(pod(), "")),
            ("done", Resident(pod(), "", phase="Succeeded")),
            ("failed", Resident(pod(), "", phase="Failed")),
            ("going", Resident(pod(), "", terminating=True)),
        ],
    ),
    Case(
        "done-counts-no-more-going-does",
        asks(cpu="3"),
        {"running": node(), "done": node(), "going": node()},
        {"done"},
        [
            ("running", Resident(asks(cpu="2"), "", phase="Running")),
            ("done", Resident(asks(cpu="2"), "", phase="Succeeded")),
            ("going", Resident(asks(cpu="2"), "", terminating=True)),
        ],
    ),
    Case(
        "asks-for-nothing-of-an-overcommitted-node",
        pod(container({"cpu": "0", "memory": "0", _FPGA: "0"})),
        {"over": node({"cpu": "1", "memory": "1Gi", _FPGA: "1"})},
        {"over"},
        [("over", Resident(pod(container({"cpu": "2", "memory": "2Gi", _FPGA: "2"})), ""))],
    ),
    Case(
        "asks-for-what-is-not-overcommitted",
        asks(cpu="1"),
        {"memory": node({"memory": "1Gi"}), "cpu": node({"cpu": "1"})},
        {"memory"},
        [("memory", Resident(asks(memory="2Gi"), "")), ("cpu", Resident(asks(cpu="2"), ""))],
    ),
    Case("an-exact-fit", asks(cpu="4", memory="8Gi"), {"exact": node(), "less": node({"cpu": "3999m"})}, {"exact"}),
    Case(
        "exact-with-a-neighbour",
        asks(cpu="0.5"),
        {"half": node({"cpu": "1"}), "more": node({"cpu": "1"})},
        {"half"},
        [("half", Resident(asks(cpu="500m"), "")), ("more", Resident(asks(cpu="501m"), ""))],
    ),
    Case(
        "spellings",
        asks(memory="1Gi"),
        {"bytes": node({"memory": "1073741824"}), "decimal": node({"memory": "1G"}), "big": node({"memory": "1074M"})},
        {"bytes", "big"},
    ),
    Case(
        "fractions-of-a-byte-add-up-before-they-are-rounded",
        pod(container({"memory": "1500m"}), container({"memory": "1500m"})),
        {"two": node({"memory": "2"}), "three": node({"memory": "3"}), "four": node({"memory": "4"})},
        {"three", "four"},
    ),
    Case(
        "each-pod-is-rounded-alone",
        asks(memory="1"),
        {"three": node({"memory": "3"}), "five": node({"memory": "5"})},
        {"five"},
        [(name, Resident(asks(memory="1500m"), "")) for name in ("three", "three", "five", "five")],
    ),
    Case(
        "ephemeral-storage",
        asks(ephemeral_storage="5Gi"),
        {"unsaid": node({"ephemeral-storage": ""}), "less": node({"ephemeral-storage": "4Gi"}), "more": node()},
        {"more"},
    ),
    Case(
        "a-resource-that-the-node-lacks",
        pod(container({_FPGA: "1"})),
        {"lacks": node(), "zero": node({_FPGA: "0"}), "has": node({_FPGA: "1"})},
        {"has"},
    ),
    Case("none-of-a-resource-that-the-node-lacks", pod(container({_FPGA: "0"})), {"lacks": node()}, {"lacks"}),
    Case(
        "gpus",
        pod(container({_GPU: "2"})),
        {name: node({_GPU: "4"}) for name in ("free", "half", "most", "all", "over")} | {"none": node()},
        {"free", "half"},
        [
            (name, Resident(pod(container({_GPU: count})), ""))
            for name, count in (("half", "2"), ("most", "3"), ("all", "4"), ("over", "5"))
        ],
    ),
    Case(
        "huge-pages",
        pod(container({"cpu": "1", "hugepages-2Mi": "4Mi"})),
        {"lacks": node(), "has": node({"hugepages-2Mi": "4Mi"})},
        {"has"},
    ),
]

_REQUESTS = [
    Case(
        "init-below-the-sum",
        pod(container({"cpu": "1"}), container({"cpu": "1"}), init=[container({"cpu": "1"})]),
        _CPUS,
        {"two", "three", "four"},
    ),
    Case(
        "init-above-the-sum",
        pod(container({"cpu": "1"}), init=[container({"cpu": "3"}), container({"cpu": "2"})]),
        _CPUS,
        {"three", "four"},
    ),
    Case(
        "init-above-in-one-resource-only",
        pod(container({"cpu": "1", "memory": "1Gi"}), init=[container({"cpu": "2", "memory": "1Mi"})]),
        {"fits": node({"cpu": "2", "memory": "1Gi"}), "cpu": node({"cpu": "1"}), "memory": node({"memory": "1000Mi"})},
        {"fits"},
    ),
    Case(
        "sidecar-runs-beside-containers",
        pod(container({"cpu": "1"}), init=[container({"cpu": "2"}, sidecar=True)]),
        _CPUS,
        {"three", "four"},
    ),
    Case(
        "sidecar-before-a-big-init",
        pod(container({"cpu": "1"}), init=[container({"cpu": "1"}, sidecar=True), container({"cpu": "3"})]),
        _CPUS,
        {"four"},
    ),
    Case(
        "sidecar-after-a-big-init",
        pod(container({"cpu": "1"}), init=[container({"cpu": "3"}), container({"cpu": "1"}, sidecar=True)]),
        _CPUS,
        {"three", "four"},
    ),
    Case(
        "sidecar-of-gpus",
        pod(container({_GPU: "1"}), init=[container({_GPU: "1"}, sidecar=True)]),
        {"one": node({_GPU: "1"}), "two": node({_GPU: "2"})},
        {"two"},
    ),
    Case("overhead", pod(container({"cpu": "500m"}), runtimeClassName="sv-heavy"), _CPUS, set(_CPUS)),
    Case(
        "overhead-on-top", pod(container({"cpu": "501m"}), runtimeClassName="sv-heavy"), _CPUS, {"two", "three", "four"}
    ),
    Case(
        "overhead-on-top-of-init",
        pod(container({"cpu": "1"}), init=[container({"cpu": "2"})], runtimeClassName="sv-heavy"),
        _CPUS,
        {"three", "four"},
    ),
    Case(
        "overhead-of-a-neighbour",
        asks(cpu="3500m"),
        {"plain": node(), "heavy": node()},
        {"plain"},
        [
            ("plain", Resident(asks(cpu="500m"), "")),
            ("heavy", Resident(pod(container({"cpu": "500m"}), runtimeClassName="sv-heavy"), "")),
        ],
    ),
    Case(
        "pod-level-above-the-sum",
        pod(container({"cpu": "1"}), resources={"requests": {"cpu": "3"}}),
        _CPUS,
        {"three", "four"},
    ),
    Case(
        "pod-level-below-the-sum",
        pod(container({"cpu": "2"}), resources={"requests": {"cpu": "1"}}),
        _CPUS,
        NotTaken("must be greater than or equal to aggregate container requests"),
    ),
    Case(
        "pod-level-below-an-init",
        pod(container({"cpu": "1"}), init=[container({"cpu": "3"})], resources={"requests": {"cpu": "2"}}),
        _CPUS,
        NotTaken("must be greater than or equal to aggregate container requests"),
    ),
    Case(
        "pod-level-of-one-resource-only",
        pod(container({"cpu": "1", "memory": "1Gi"}), resources={"requests": {"cpu": "2"}}),
        {"fits": node({"cpu": "2"}), "cpu": node({"cpu": "1"}), "memory": node({"memory": "1000Mi"})},
        {"fits"},
    ),
    Case(
        "pod-level-and-overhead",
        pod(resources={"requests": {"cpu": "2"}}, runtimeClassName="sv-heavy"),
        _CPUS,
        {"three", "four"},
    ),
    Case(
        "pod-level-limit-alone",
        pod(container({"cpu": "1"}), resources={"limits": {"cpu": "3"}}),
        _CPUS,
        {"one", "two", "three", "four"},
    ),
    Case(
        "a-limit-alone-is-a-request",
        {"spec": {"containers": [{"name": "c", "image": "i", "resources": {"limits": {"cpu": "2"}}}]}},
        _CPUS,
        {"two", "three", "four"},
    ),
]

_BESIDE_A_RESIZE = [
    ("shrinking", Resident(asks(cpu="1"), "", status=kubelet_says({"cpu": "3"}, {"cpu": "3"}))),
    ("shrunk", Resident(asks(cpu="1"), "", status=kubelet_says({"cpu": "1"}, {"cpu": "1"}))),
    ("given-more", Resident(asks(cpu="1"), "", status=kubelet_says({"cpu": "1"}, {"cpu": "3"}))),
    ("allocated-more", Resident(asks(cpu="1"), "", status=kubelet_says({"cpu": "3"}, {"cpu": "1"}))),
    ("growing", Resident(asks(cpu="3"), "", status=kubelet_says({"cpu": "1"}, {"cpu": "1"}))),
    ("deferred", Resident(asks(cpu="3"), "", status=kubelet_says({"cpu": "1"}, {"cpu": "1"}, pending="Deferred"))),
    ("infeasible", Resident(asks(cpu="3"), "", status=kubelet_says({"cpu": "1"}, {"cpu": "1"}, pending="Infeasible"))),
]
_RESIZES = [
    Case(
        "beside-a-resize",
        asks(cpu="2"),
        {name: node() for name, _ in _BESIDE_A_RESIZE},
        {"shrunk", "infeasible"},
        _BESIDE_A_RESIZE,
    ),
]

ROOM: list[Case] = [*_HOST_PORTS, *_ROOM, *_REQUESTS, *_RESIZES]
