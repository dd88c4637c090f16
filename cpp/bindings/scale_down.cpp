#include "scale_down.h"

#include <pybind11/stl.h>

#include <map>
#include <stdexcept>
#include <string>
#include <string_view>

#include "bind.h"

namespace py = pybind11;

namespace nos {

namespace {

// In names, made while the Cluster is still entered.
struct RemovalState {
    std::vector<std::string> nodes;
    std::vector<std::pair<std::string, std::string>> moves;
    std::vector<NewNodeState> ordered;
    std::int64_t saved = 0;
};

struct ScaleDownState {
    std::vector<RemovalState> steps;
    std::int64_t saved = 0;
    std::vector<std::pair<std::string, std::string>> kept;
};

std::int64_t checked_price(std::int64_t price, const std::string& what) {
    if (price < 0 || price > highest_price) {
        throw std::invalid_argument(what + " has to be from 0 to " + std::to_string(highest_price) +
                                    " micro-dollars, not " + std::to_string(price));
    }
    return price;
}

// Pods that are on record; others are none of our business.
std::set<PodId> known(const Cluster& cluster, const py::iterable& uids) {
    std::set<PodId> pods;
    for (const py::handle uid : uids) {
        if (const auto id = cluster.find_pod(uid.cast<std::string_view>())) {
            pods.insert(*id);
        }
    }
    return pods;
}

ScaleDownState plan(Cluster& cluster, std::vector<Removable> nodes, const py::iterable& movable,
                    const py::iterable& ignored, std::map<std::string, std::int64_t> spare,
                    std::vector<NodeGroup> groups, const std::map<std::string, std::int64_t>& limits,
                    std::int64_t move_price, const Policy& policy, std::int64_t most_steps) {
    const Entry entry{cluster.door()};
    const ScaleDownRequest request{std::move(nodes),
                                   known(cluster, movable),
                                   known(cluster, ignored),
                                   std::move(spare),
                                   std::move(groups),
                                   Limits{limits.begin(), limits.end()},
                                   checked_price(move_price, "move_price"),
                                   most_steps};
    const py::gil_scoped_release release;
    ScaleDown found = scale_down(cluster, policy, request);
    ScaleDownState state{{}, found.saved, std::move(found.kept)};
    for (Removal& step : found.steps) {
        RemovalState& removal = state.steps.emplace_back(
            RemovalState{std::move(step.nodes), std::move(step.moves), {}, step.saved});
        for (const NewNode& node : step.ordered) {
            removal.ordered.push_back(named(cluster, request.groups[node.group], node.node));
        }
    }
    return state;
}

}  // namespace

void bind_scale_down(py::module_& module) {
    py::class_<Removable>(module, "Removable")
        .def(py::init([](std::string node, std::int64_t price, std::string limit) {
                 checked_price(price, "the price of node " + node);
                 return Removable{std::move(node), price, std::move(limit)};
             }),
             py::arg("node"), py::kw_only(), py::arg("price"), py::arg("limit") = "")
        .def_readonly("node", &Removable::node)
        .def_readonly("price", &Removable::price)
        .def_readonly("limit", &Removable::limit)
        .def(equality())
        .attr("__match_args__") = py::make_tuple("node", "price", "limit");
    py::class_<RemovalState>(module, "Removal")
        .def_readonly("nodes", &RemovalState::nodes)
        .def_readonly("moves", &RemovalState::moves)
        .def_readonly("new", &RemovalState::ordered)
        .def_readonly("saved", &RemovalState::saved);
    py::class_<ScaleDownState>(module, "ScaleDown")
        .def_readonly("steps", &ScaleDownState::steps)
        .def_readonly("saved", &ScaleDownState::saved)
        .def_readonly("kept", &ScaleDownState::kept);
    module.def("scale_down", &plan, py::arg("cluster"), py::arg("nodes"), py::kw_only(), py::arg("movable"),
               py::arg("ignored") = py::tuple{}, py::arg("spare") = std::map<std::string, std::int64_t>{},
               py::arg("groups") = std::vector<NodeGroup>{},
               py::arg("limits") = std::map<std::string, std::int64_t>{}, py::arg("move_price") = 0,
               py::arg("policy") = Policy{}, py::arg("most_steps") = 100'000);
}

}  // namespace nos
