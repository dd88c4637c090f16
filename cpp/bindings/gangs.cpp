#include <pybind11/stl.h>

#include <algorithm>
#include <string>
#include <vector>

#include "bind.h"

namespace py = pybind11;

namespace nos {

namespace {

// A copy of what the ledger has.
struct GangState {
    GangSpec spec;
    bool known = false;
    std::vector<std::string> members;
    std::int64_t placed = 0;
};

GangState gang_state(const Cluster& cluster, std::string_view name) {
    const auto id = cluster.find_gang(name);
    if (!id) {
        throw py::key_error("no gang " + std::string{name});
    }
    const Gang& gang = cluster.gang(*id);
    GangState state{gang.spec.value_or(GangSpec{}), gang.spec.has_value(), {}, gang.placed};
    for (const PodId member : gang.members) {
        state.members.emplace_back(cluster.uid(member));
    }
    std::ranges::sort(state.members);
    return state;
}

}  // namespace

void bind_gangs(const py::module_& module) {
    py::class_<GangState>(module, "GangState")
        .def_readonly("known", &GangState::known)
        .def_property_readonly("min_members", [](const GangState& state) { return state.spec.min_members; })
        .def_property_readonly("topology_key", [](const GangState& state) { return state.spec.topology_key; })
        .def_property_readonly("required", [](const GangState& state) { return state.spec.required; })
        .def_property_readonly("problem", [](const GangState& state) { return state.spec.problem; })
        .def_readonly("members", &GangState::members)
        .def_readonly("placed", &GangState::placed);

    static_cast<py::class_<Cluster>>(module.attr("Cluster"))
        .def(
            "upsert_gang",
            [](Cluster& self, std::string_view name, std::int64_t min_members, std::string topology_key,
               bool required, std::string problem) {
                const Entry entry{self.door()};
                self.upsert_gang(name, {min_members, std::move(topology_key), required, std::move(problem)});
            },
            py::arg("name"), py::kw_only(), py::arg("min_members"), py::arg("topology_key") = "",
            py::arg("required") = false, py::arg("problem") = "")
        .def(
            "remove_gang",
            [](Cluster& self, std::string_view name) {
                const Entry entry{self.door()};
                return self.remove_gang(name);
            },
            py::arg("name"))
        .def(
            "gang",
            [](const Cluster& self, std::string_view name) {
                const Entry entry{self.door()};
                return gang_state(self, name);
            },
            py::arg("name"));
}

}  // namespace nos
