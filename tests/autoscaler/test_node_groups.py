"""A backend's groups as Cluster Autoscaler sees them: nothing is counted twice or lost, whatever the backend says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nos.autoscaler.backend import Group, Instance, Order, State, Survey
from nos.autoscaler.cluster_autoscaler.node_groups import after_increase, after_removal, node_groups, room
from nos.autoscaler.template import TemplateSettings
from nos.kube.new_node import layout_text

LABELS = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", "nos.nebuly.com/gpu-partitioning": "mig"}
ALLOCATABLE = {"cpu": "8", "memory": "64Gi", "pods": "110", "nvidia.com/gpu": "2"}
TEMPLATE = TemplateSettings(ALLOCATABLE, LABELS).node()
LAYOUTS = {"g": {"halves": "3g.40gb@0,3g.40gb@4", "one": "7g.80gb@0"}}
HALVES, ONE = "0:3g.40gb@0,0:3g.40gb@4,1:3g.40gb@0,1:3g.40gb@4", "0:7g.80gb@0,1:7g.80gb@0"
STANDING = {State.COMING, State.UP}

states = st.sampled_from(State)
texts = st.sampled_from(["", HALVES, ONE, "0:1g.10gb@0"])
nodes = st.sampled_from(["", "known", "nameless", "new"])


@st.composite
def surveys(draw: st.DrawFn) -> tuple[Survey, dict[str, str]]:
    """A group with instances of all sorts, and the provider ids of its Nodes: some have none."""
    drawn = draw(st.lists(st.tuples(states, texts, nodes), max_size=8))
    instances, ids = [], {}
    for number, (state, text, kind) in enumerate(drawn):
        node = f"{kind}-{number}" if kind else ""
        if kind in ("known", "nameless"):
            ids[node] = f"cloud://{number}" if kind == "known" else ""
        instances.append(Instance(f"i{number}", "g", state, node, layout=text))
    target = sum(one.state in STANDING for one in instances) + draw(st.integers(0, 2))  # some may not be seen yet
    least, most = draw(st.integers(0, 4)), draw(st.integers(0, 12))
    group = Group("g", TEMPLATE, 1, target, min=least, max=most, uses={"gpus": 2})
    return Survey((group,), tuple(instances), {"gpus": draw(st.integers(-1, 9))}), ids


@given(surveys())
def test_every_node_is_in_one_group_and_counted_once(world: tuple[Survey, dict[str, str]]) -> None:
    survey, ids = world
    (group,) = survey.groups
    found = node_groups("b", survey, LAYOUTS, ids)
    assert list(found) == ["b/g", "b/g@halves", "b/g@one"]
    named = [one for one in survey.instances if ids.get(one.node) != ""]
    assert sorted(m.id for v in found.values() for m in v.members.values()) == sorted(one.id for one in named)
    hidden = sum(ids.get(one.node) == "" and one.state in STANDING for one in survey.instances)
    assert sum(v.target for v in found.values()) == group.target - hidden
    for id_, text in (("b/g@halves", HALVES), ("b/g@one", ONE)):
        assert layout_text(found[id_].layout) == text
        assert {m.id for m in found[id_].members.values()} == {one.id for one in named if one.layout == text}
    # What they share: each may grow by what is left, and by no more than the limit allows at 2 a node.
    left = max(0, min(group.max - group.target, survey.limits["gpus"] // 2))
    for virtual in found.values():
        assert virtual.max - virtual.target == left
        assert 0 <= virtual.min <= virtual.max


@given(surveys(), st.sampled_from(["b/g", "b/g@halves", "b/g@one"]), st.data())
def test_what_is_changed_shows_as_the_next_survey_will_have_it(
    world: tuple[Survey, dict[str, str]], id_: str, data: st.DataObject
) -> None:
    survey, ids = world
    (group,) = survey.groups
    before = node_groups("b", survey, LAYOUTS, ids)
    count = data.draw(st.integers(0, room(group, survey)))
    orders = [Order(f"r{n}", layout=before[id_].layout) for n in range(count)]
    grown = after_increase(survey, group, orders)
    after = node_groups("b", grown, LAYOUTS, ids)
    for other, virtual in after.items():
        assert virtual.target == before[other].target + (count if other == id_ else 0)
    assert grown.limits["gpus"] == survey.limits["gpus"] - 2 * count
    assert room(grown.groups[0], grown) <= room(group, survey) - count

    gone = (
        data.draw(st.lists(st.sampled_from(grown.instances), unique_by=lambda one: one.id)) if grown.instances else []
    )
    gone = [one for one in gone if one.state is not State.GOING]
    shrunk = after_removal(grown, grown.groups[0], gone)
    assert shrunk.groups[0].target == grown.groups[0].target - sum(one.state in STANDING for one in gone)
    assert {one.id for one in shrunk.instances if one.state is State.GOING} == (
        {one.id for one in gone} | {one.id for one in grown.instances if one.state is State.GOING}
    )


def test_a_layout_that_cannot_be_does_not_grow_and_says_why() -> None:
    plain = TemplateSettings(ALLOCATABLE).node()
    unknown = TemplateSettings(ALLOCATABLE, LABELS | {"nvidia.com/gpu.product": "Voodoo-2"}).node()
    bare = TemplateSettings({k: v for k, v in ALLOCATABLE.items() if k != "nvidia.com/gpu"}, LABELS).node()
    for template, each, words in (
        (TEMPLATE, "4g.40gb@1", "layouts.g: '4g.40gb@1' cannot be"),
        (TEMPLATE, "8g.90gb@0", "layouts.g: '8g.90gb@0' is no profile of"),
        (TEMPLATE, "", "there is nothing to cut"),
        (bare, "7g.80gb@0", "there is nothing to cut; name instances, and nvidia.com/gpu in its template"),
        (plain, "7g.80gb@0", "nos does not cut its GPUs"),
        (unknown, "7g.80gb@0", "Voodoo-2, which nos does not know"),
    ):
        survey = Survey((Group("g", template, 1, 1, max=9),), ())
        found = node_groups("b", survey, {"g": {"x": each}}, {})
        assert words in found["b/g@x"].problem
        assert (found["b/g@x"].target, found["b/g@x"].max) == (0, 0)
        assert (found["b/g"].target, found["b/g"].max) == (1, 9)
