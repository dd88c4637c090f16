#include <pybind11/stl.h>

#include <algorithm>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bind.h"
#include "scale_up.h"
#include "spec_parts.h"

namespace py = pybind11;

namespace nos {

namespace {

constexpr std::int64_t default_steps = 200'000;

// A plan in names, made while the Cluster is still entered.
struct ScaleUpState {
    std::vector<NewNodeState> nodes;
    std::vector<BindState> binds;
    std::vector<std::pair<std::string, std::string>> left;
    std::int64_t price = 0;
    std::int64_t bound = 0;
    std::int64_t first_fit_price = 0;
    bool exact = false;
};

NodeGroup node_group(std::string id, const NodeSpecHandle& node, std::int64_t price, std::int64_t room,
                     const std::map<std::string, std::int64_t>& uses) {
    NodeGroup group{std::move(id), node.value, price, room, {uses.begin(), uses.end()}};
    group.validate();
    return group;
}

ScaleUpState plan(Cluster& cluster, const std::vector<NodeGroup>& groups,
                  const std::map<std::string, std::int64_t>& limits, Policy policy, std::int64_t most_steps) {
    const Entry entry{cluster.door()};
    const py::gil_scoped_release release;
    const ScaleUp found = scale_up(cluster, groups, Limits{limits.begin(), limits.end()}, policy, most_steps);
    ScaleUpState state{{}, {}, {}, found.price, found.bound, found.first_fit_price, found.exact};
    for (const NewNode& node : found.nodes) {
        state.nodes.push_back(named(cluster, groups[node.group], node.node));
    }
    for (const Bind& bind : found.binds) {
        state.binds.push_back(named(cluster, bind));
    }
    for (const Unhelped& left : found.left) {
        state.left.emplace_back(cluster.uid(left.pod), left.why);
    }
    return state;
}

}  // namespace

NewNodeState named(const Cluster& cluster, const NodeGroup& group, NodeId node) {
    NewNodeState state{group.id, std::string{cluster.name(node)}, {}, named_targets(cluster, node)};
    for (const PodId pod : cluster.node(node).pods) {
        state.pods.emplace_back(cluster.uid(pod));
    }
    std::ranges::sort(state.pods);
    return state;
}

void bind_scaling(py::module_& module) {
    py::class_<NodeGroup>(module, "NodeGroup")
        .def(py::init(&node_group), py::arg("id"), py::arg("node"), py::kw_only(), py::arg("price"),
             py::arg("room"), py::arg("uses") = std::map<std::string, std::int64_t>{})
        .def_readonly("id", &NodeGroup::id)
        .def_readonly("price", &NodeGroup::price)
        .def_property_readonly("node", [](const NodeGroup& group) { return NodeSpecHandle{group.node}; })
        .def_readonly("room", &NodeGroup::room)
        .def_property_readonly(
            "uses", [](const NodeGroup& group) { return Mapping{group.uses.begin(), group.uses.end()}; })
        .def(
            "__eq__",
            [](const NodeGroup& a, const NodeGroup& b) {
                return std::tie(a.id, *a.node, a.price, a.room, a.uses) ==
                       std::tie(b.id, *b.node, b.price, b.room, b.uses);
            },
            py::is_operator())
        .attr("__match_args__") = py::make_tuple("id", "node", "price", "room", "uses");
    py::class_<NewNodeState>(module, "NewNode")
        .def_readonly("group", &NewNodeState::group)
        .def_readonly("name", &NewNodeState::name)
        .def_readonly("pods", &NewNodeState::pods)
        .def_readonly("cuts", &NewNodeState::cuts);
    py::class_<ScaleUpState>(module, "ScaleUp")
        .def_readonly("nodes", &ScaleUpState::nodes)
        .def_readonly("binds", &ScaleUpState::binds)
        .def_readonly("left", &ScaleUpState::left)
        .def_readonly("price", &ScaleUpState::price)
        .def_readonly("bound", &ScaleUpState::bound)
        .def_readonly("first_fit_price", &ScaleUpState::first_fit_price)
        .def_readonly("exact", &ScaleUpState::exact);
    module.def("scale_up", &plan, py::arg("cluster"), py::arg("groups"), py::kw_only(),
               py::arg("limits") = std::map<std::string, std::int64_t>{}, py::arg("policy") = Policy{},
               py::arg("most_steps") = default_steps);
}

}  // namespace nos
