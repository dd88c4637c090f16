"""Effective requests, with the arithmetic in comments; the rules are those of component-helpers/resource."""

from hypothesis import given
from hypothesis import strategies as st

from nos.kube.requests import Ask, Container, effective_requests


def cpu(amount: int, *, sidecar: bool = False) -> Container:
    return Container({"cpu": amount}, restartable=sidecar)


def test_containers_add_up() -> None:
    assert effective_requests(Ask([cpu(2), Container({"cpu": 1, "memory": 5})])) == {"cpu": 3, "memory": 5}


def test_an_init_container_counts_where_it_needs_more() -> None:
    assert effective_requests(Ask([cpu(2), cpu(1)], [cpu(2)])) == {"cpu": 3}
    assert effective_requests(Ask([cpu(2), cpu(1)], [cpu(5), cpu(4)])) == {"cpu": 5}


def test_a_sidecar_runs_beside_the_containers_and_later_init_containers() -> None:
    # containers 2 + sidecar 3 = 5; init 4 ran before the sidecar
    assert effective_requests(Ask([cpu(2)], [cpu(4), cpu(3, sidecar=True)])) == {"cpu": 5}
    # init 4 + sidecar 3 before it = 7 > 2 + 3
    assert effective_requests(Ask([cpu(2)], [cpu(3, sidecar=True), cpu(4)])) == {"cpu": 7}
    # two sidecars and an init between them: 1 + 6 = 7 at init, 2 + 1 + 5 = 8 running
    assert effective_requests(Ask([cpu(2)], [cpu(1, sidecar=True), cpu(6), cpu(5, sidecar=True)])) == {"cpu": 8}


def test_each_resource_has_its_own_maximum() -> None:
    ask = Ask([Container({"cpu": 1, "nvidia.com/gpu": 1})], [Container({"cpu": 4, "memory": 9})])
    assert effective_requests(ask) == {"cpu": 4, "memory": 9, "nvidia.com/gpu": 1}


def test_overhead_comes_on_top() -> None:
    assert effective_requests(Ask([cpu(2)], overhead={"cpu": 1, "memory": 7})) == {"cpu": 3, "memory": 7}


def test_pod_level_requests_override_cpu_memory_and_hugepages_only() -> None:
    ask = Ask(
        [Container({"cpu": 2, "nvidia.com/gpu": 1, "hugepages-2Mi": 8})],
        pod={"cpu": 5, "hugepages-2Mi": 16, "nvidia.com/gpu": 9},
        overhead={"cpu": 1},
    )
    # cpu 5 + overhead 1; the GPU's pod-level value has no meaning
    assert effective_requests(ask) == {"cpu": 6, "nvidia.com/gpu": 1, "hugepages-2Mi": 16}


def test_a_pod_level_request_may_be_less_than_its_containers_ask() -> None:
    assert effective_requests(Ask([cpu(8)], pod={"cpu": 5})) == {"cpu": 5}


def test_a_resize_under_way_counts_as_the_most_of_asked_allocated_and_given() -> None:
    growing = Container({"cpu": 4}, allocated={"cpu": 2}, actual={"cpu": 2})
    shrinking = Container({"cpu": 1}, allocated={"cpu": 1}, actual={"cpu": 3})
    assert effective_requests(Ask([growing])) == {"cpu": 4}
    assert effective_requests(Ask([shrinking])) == {"cpu": 3}
    # per view: asked 4 + 1, allocated 2 + 1, given 2 + 3; the largest sum counts, not the sum of the largest
    assert effective_requests(Ask([growing, shrinking])) == {"cpu": 5}


def test_an_infeasible_resize_drops_the_wish() -> None:
    growing = Container({"cpu": 64}, allocated={"cpu": 2}, actual={"cpu": 2})
    assert effective_requests(Ask([growing], resize_infeasible=True)) == {"cpu": 2}
    # nothing is known of a container without a status: no wish, no request
    assert effective_requests(Ask([growing, cpu(1)], resize_infeasible=True)) == {"cpu": 2}


def test_what_the_kubelet_says_of_the_whole_pod_replaces_its_containers_statuses() -> None:
    ask = Ask(
        [Container({"cpu": 2}, allocated={"cpu": 50}, actual={"cpu": 50})],
        pod_allocated={"cpu": 3},
        pod_actual={"cpu": 4},
    )
    assert effective_requests(ask) == {"cpu": 4}


def test_a_pod_level_resize_counts_as_the_most() -> None:
    ask = Ask([cpu(1)], pod={"cpu": 5}, pod_allocated={"cpu": 7}, pod_actual={"cpu": 6})
    assert effective_requests(ask) == {"cpu": 7}


_containers = st.lists(
    st.builds(Container, st.dictionaries(st.sampled_from(["cpu", "memory"]), st.integers(0, 9)), st.booleans()),
    max_size=4,
)


@given(_containers, _containers)
def test_enough_at_every_moment_of_the_start(containers: list[Container], init: list[Container]) -> None:
    """An oracle that plays the start: init containers one by one, sidecars staying, then all containers."""
    for resource in ("cpu", "memory"):
        peak = sidecars = 0
        for container in init:
            amount = container.requests.get(resource, 0)
            peak = max(peak, sidecars + amount)
            sidecars += amount if container.restartable else 0
        peak = max(peak, sidecars + sum(c.requests.get(resource, 0) for c in containers))
        assert effective_requests(Ask(containers, init)).get(resource, 0) == peak
