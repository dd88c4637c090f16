#include <pybind11/stl.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <tuple>

#include "bind.h"
#include "geometry.h"
#include "repack.h"
#include "repartition.h"
#include "states.h"

namespace py = pybind11;

namespace nos {

using mig::Model;
using mig::Placement;
using mig::States;

namespace {

std::size_t profile_of(const Model& model, const std::string& name) {
    const auto profile = model.find(name);
    if (!profile) {
        throw py::value_error(model.id + " has no profile " + name);
    }
    return *profile;
}

}  // namespace

Placement placement_of(const States& states, const NamedPlacement& named) {
    const std::size_t profile = profile_of(states.model(), named.first);
    const auto all = states.placements(profile);
    const auto found = std::ranges::find(all, named.second, &Placement::start);
    if (found == all.end()) {
        throw py::value_error(states.model().id + ": " + named.first + " cannot start at " +
                              std::to_string(named.second));
    }
    return *found;
}

NamedPlacement named(const States& states, Placement placement) {
    return {states.model().profiles[placement.profile].name, placement.start};
}

namespace {

using mig::Profile;

using NamedSpot = std::tuple<int, std::string, int>;  // GPU, profile and start

// A profile as Python gives it: its engines by name.
struct ProfileState {
    Profile profile;
    std::map<std::string, std::int32_t> engines;

    bool operator==(const ProfileState&) const = default;
};

std::vector<Placement> placements_of(const States& states, const std::vector<NamedPlacement>& named) {
    std::vector<Placement> placements;
    for (const NamedPlacement& each : named) {
        placements.push_back(placement_of(states, each));
    }
    return placements;
}

std::vector<NamedPlacement> all_named(const States& states, const std::vector<Placement>& placements) {
    std::vector<NamedPlacement> result;
    for (const Placement placement : placements) {
        result.push_back(named(states, placement));
    }
    return result;
}

std::shared_ptr<States> make_model(const std::string& id, int units, int compute_slices,
                                   const std::map<std::string, std::int32_t>& engines,
                                   const std::vector<ProfileState>& profiles) {
    Model model{id, units, compute_slices, {engines.begin(), engines.end()}, {}};
    for (const ProfileState& given : profiles) {
        Profile profile = given.profile;
        for (const auto& [name, total] : model.engines) {
            const auto found = given.engines.find(name);
            profile.engines.push_back(found == given.engines.end() ? 0 : found->second);
        }
        model.profiles.push_back(std::move(profile));
    }
    return std::make_shared<States>(std::move(model));
}

std::vector<ProfileState> profiles_of(const States& states) {
    const Model& model = states.model();
    std::vector<ProfileState> profiles;
    for (const Profile& profile : model.profiles) {
        ProfileState& state = profiles.emplace_back(ProfileState{profile, {}});
        for (std::size_t engine = 0; engine < model.engines.size(); ++engine) {
            state.engines.emplace(model.engines[engine].first, profile.engines[engine]);
        }
        state.profile.engines.clear();  // they are by name here
    }
    return profiles;
}

std::vector<std::map<std::string, std::int32_t>> list_geometries(const States& states, bool maximal) {
    std::vector<std::map<std::string, std::int32_t>> result;
    for (const mig::Geometry& geometry : mig::geometries(states, maximal)) {
        auto& counts = result.emplace_back();
        for (std::size_t profile = 0; profile < geometry.size(); ++profile) {
            if (geometry[profile] > 0) {
                counts[states.model().profiles[profile].name] = geometry[profile];
            }
        }
    }
    return result;
}

std::map<std::string, std::int32_t> room(const States& states, const std::vector<NamedPlacement>& instances) {
    const auto state = states.of(placements_of(states, instances));
    if (!state) {
        throw py::value_error("these instances cannot be on one " + states.model().id);
    }
    std::map<std::string, std::int32_t> counts;
    for (std::size_t profile = 0; profile < states.model().profiles.size(); ++profile) {
        counts[states.model().profiles[profile].name] = states.room(*state, profile);
    }
    return counts;
}

struct PlanState {
    std::vector<NamedPlacement> destroy;
    std::vector<NamedPlacement> create;
    std::vector<std::pair<std::size_t, NamedPlacement>> placed;
    std::vector<std::pair<std::size_t, std::string>> unplaced;
};

std::vector<std::pair<std::size_t, std::string>> reasons(const std::vector<mig::Unplaced>& unplaced) {
    std::vector<std::pair<std::size_t, std::string>> result;
    for (const mig::Unplaced& each : unplaced) {
        result.emplace_back(each.wanted, each.reason);
    }
    return result;
}

PlanState repartition(const States& states, const std::vector<NamedPlacement>& used,
                      const std::vector<NamedPlacement>& free, const std::vector<std::string>& wanted) {
    std::vector<std::size_t> profiles;
    for (const std::string& name : wanted) {
        profiles.push_back(profile_of(states.model(), name));
    }
    const mig::Plan plan =
        mig::repartition(states, placements_of(states, used), placements_of(states, free), profiles);
    PlanState result{
        all_named(states, plan.destroy), all_named(states, plan.create), {}, reasons(plan.unplaced)};
    for (const auto& [index, placement] : plan.placed) {
        result.placed.emplace_back(index, named(states, placement));
    }
    return result;
}

struct PackedGpuState {
    std::shared_ptr<States> model;
    std::vector<NamedPlacement> fixed;
    std::vector<NamedPlacement> movable;

    bool operator==(const PackedGpuState& other) const {
        return *model == *other.model && fixed == other.fixed && movable == other.movable;
    }
};

struct RepackState {
    std::vector<std::pair<NamedSpot, NamedSpot>> moves;
    std::vector<std::pair<std::size_t, NamedSpot>> placed;
    std::vector<std::pair<std::size_t, std::string>> unplaced;
    bool exact = true;
};

RepackState repack(const std::vector<PackedGpuState>& gpus, const std::vector<std::string>& wanted,
                   std::int64_t most_steps) {
    std::vector<mig::PackedGpu> packed;
    for (const PackedGpuState& gpu : gpus) {
        packed.push_back(
            {gpu.model.get(), placements_of(*gpu.model, gpu.fixed), placements_of(*gpu.model, gpu.movable)});
    }
    const auto spot = [&](const mig::Spot& at) {
        const auto [profile, start] = named(*gpus[at.gpu].model, at.placement);
        return NamedSpot{static_cast<int>(at.gpu), profile, start};
    };
    const mig::RepackPlan plan = mig::repack(packed, wanted, most_steps);
    RepackState result{{}, {}, reasons(plan.unplaced), plan.exact};
    for (const mig::Move& move : plan.moves) {
        result.moves.emplace_back(spot(move.from), spot(move.to));
    }
    for (const auto& [index, at] : plan.placed) {
        result.placed.emplace_back(index, spot(at));
    }
    return result;
}

}  // namespace

void bind_mig(py::module_& module) {
    py::class_<ProfileState>(module, "GpuProfile")
        .def(
            py::init([](std::string name, int size, std::vector<std::int32_t> starts, int compute_slices,
                        int max_instances, int memory_mib, std::map<std::string, std::int32_t> engines) {
                return ProfileState{
                    {std::move(name), size, std::move(starts), compute_slices, memory_mib, max_instances, {}},
                    std::move(engines)};
            }),
            py::arg("name"), py::kw_only(), py::arg("size"), py::arg("starts"), py::arg("compute_slices"),
            py::arg("max_instances"), py::arg("memory_mib") = 0,
            py::arg("engines") = std::map<std::string, std::int32_t>{})
        .def_property_readonly("name", [](const ProfileState& state) { return state.profile.name; })
        .def_property_readonly("size", [](const ProfileState& state) { return state.profile.size; })
        .def_property_readonly("starts", [](const ProfileState& state) { return state.profile.starts; })
        .def_property_readonly("compute_slices",
                               [](const ProfileState& state) { return state.profile.compute_slices; })
        .def_property_readonly("max_instances",
                               [](const ProfileState& state) { return state.profile.max_instances; })
        .def_property_readonly("memory_mib",
                               [](const ProfileState& state) { return state.profile.memory_mib; })
        .def_readonly("engines", &ProfileState::engines)
        .def(equality())
        .attr("__match_args__") =
        py::make_tuple("name", "size", "starts", "compute_slices", "max_instances", "memory_mib", "engines");

    py::class_<States, std::shared_ptr<States>>(module, "GpuModel")
        .def(py::init(&make_model), py::arg("id"), py::kw_only(), py::arg("units"), py::arg("compute_slices"),
             py::arg("engines") = std::map<std::string, std::int32_t>{}, py::arg("profiles"))
        .def_property_readonly("id", [](const States& self) { return self.model().id; })
        .def_property_readonly("units", [](const States& self) { return self.model().units; })
        .def_property_readonly("compute_slices",
                               [](const States& self) { return self.model().compute_slices; })
        .def_property_readonly("engines",
                               [](const States& self) {
                                   return std::map<std::string, std::int32_t>{self.model().engines.begin(),
                                                                              self.model().engines.end()};
                               })
        .def_property_readonly("profiles", &profiles_of)
        .def(equality())
        .def("__hash__", [](const States& self) { return std::hash<std::string>{}(self.model().id); })
        .def("geometries", &list_geometries, py::kw_only(), py::arg("maximal") = false)
        .def("room", &room, py::arg("instances"))
        .attr("__match_args__") = py::make_tuple("id", "units", "compute_slices", "engines", "profiles");

    py::class_<PlanState>(module, "Plan")
        .def_readonly("destroy", &PlanState::destroy)
        .def_readonly("create", &PlanState::create)
        .def_readonly("placed", &PlanState::placed)
        .def_readonly("unplaced", &PlanState::unplaced);
    module.def("repartition", &repartition, py::arg("model"), py::kw_only(), py::arg("used"), py::arg("free"),
               py::arg("wanted"), py::call_guard<py::gil_scoped_release>());

    py::class_<PackedGpuState>(module, "PackedGpu")
        .def(py::init([](std::shared_ptr<States> model, std::vector<NamedPlacement> fixed,
                         std::vector<NamedPlacement> movable) {
                 return PackedGpuState{std::move(model), std::move(fixed), std::move(movable)};
             }),
             py::arg("model"), py::kw_only(), py::arg("fixed") = std::vector<NamedPlacement>{},
             py::arg("movable") = std::vector<NamedPlacement>{})
        .def_readonly("model", &PackedGpuState::model)
        .def_readonly("fixed", &PackedGpuState::fixed)
        .def_readonly("movable", &PackedGpuState::movable)
        .def(equality())
        .attr("__match_args__") = py::make_tuple("model", "fixed", "movable");
    py::class_<RepackState>(module, "Repack")
        .def_readonly("moves", &RepackState::moves)
        .def_readonly("placed", &RepackState::placed)
        .def_readonly("unplaced", &RepackState::unplaced)
        .def_readonly("exact", &RepackState::exact);
    module.def("repack", &repack, py::arg("gpus"), py::arg("wanted"), py::kw_only(),
               py::arg("most_steps") = 200'000, py::call_guard<py::gil_scoped_release>());
}

}  // namespace nos
