#include <pybind11/stl.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>

#include "bind.h"
#include "gpu_use.h"
#include "scheduler.h"

namespace py = pybind11;

namespace nos {

namespace {

struct EvictionState {
    std::string uid;
    std::string node;
    std::string why;
    std::string for_uid;
};

struct OutcomeState {
    std::vector<BindState> binds;
    std::vector<EvictionState> evictions;
    std::vector<std::pair<std::string, std::string>> held;
    std::vector<std::pair<std::string, std::shared_ptr<Reason>>> waiting;
};

struct GpuUseState {
    std::string node;
    GpuUse use;
};

// A Scheduler with the Cluster that it works on, which Python keeps alive.
struct SchedulerHandle {
    SchedulerHandle(Cluster& on, Policy policy) : cluster{on}, scheduler{on, policy} {}

    Cluster& cluster;
    Scheduler scheduler;
};

std::optional<BindState> place(SchedulerHandle& self, std::string_view uid) {
    const Entry entry{self.cluster.door()};
    const auto pod = self.cluster.find_pod(uid);
    if (!pod || self.cluster.pod(*pod).phase != Phase::waiting) {
        throw py::key_error("no Pod waits with uid " + std::string{uid});
    }
    const auto bind = self.scheduler.place(*pod);
    return bind ? std::optional{named(self.cluster, *bind)} : std::nullopt;
}

OutcomeState schedule(SchedulerHandle& self) {
    const Entry entry{self.cluster.door()};
    const py::gil_scoped_release release;
    OutcomeState state;
    const Outcome outcome = self.scheduler.schedule();
    for (const Bind& bind : outcome.binds) {
        state.binds.push_back(named(self.cluster, bind));
    }
    for (const Waiting& waiting : outcome.waiting) {
        state.waiting.emplace_back(self.cluster.uid(waiting.pod), waiting.reason);
    }
    for (const Eviction& eviction : outcome.evictions) {
        state.evictions.push_back(
            {std::string{self.cluster.uid(eviction.pod)}, std::string{self.cluster.name(eviction.node)},
             std::string{name(eviction.cause)}, std::string{self.cluster.uid(eviction.for_pod)}});
    }
    for (const PodId id : self.cluster.held()) {
        state.held.emplace_back(self.cluster.uid(id), self.cluster.name(self.cluster.pod(id).nominated));
    }
    std::ranges::sort(state.held);
    return state;
}

}  // namespace

BindState named(const Cluster& cluster, const Bind& bind) {
    return {std::string{cluster.uid(bind.pod)},
            std::string{cluster.name(bind.node)},
            listed(bind.gpus),
            named(cluster, bind.node, bind.instances),
            bind.volumes,
            cluster.ready(bind.pod)};
}

void bind_scheduling(py::module_& module) {
    py::class_<GpuUseState>(module, "GpuUse")
        .def_readonly("node", &GpuUseState::node)
        .def_property_readonly("all", [](const GpuUseState& state) { return state.use.all; })
        .def_property_readonly("free", [](const GpuUseState& state) { return state.use.free; })
        .def_property_readonly("withheld", [](const GpuUseState& state) { return state.use.withheld; })
        .def_property_readonly("stranded", [](const GpuUseState& state) {
            const GpuUse& use = state.use;
            return std::map<std::string, std::int64_t>{{"geometry", use.stranded_by_geometry},
                                                       {"cpu", use.stranded_by_cpu},
                                                       {"memory", use.stranded_by_memory}};
        });
    module.def(
        "gpu_use",
        [](const Cluster& cluster) {
            const Entry entry{cluster.door()};
            std::vector<GpuUseState> states;
            for (const GpuUse& use : gpu_use(cluster)) {
                states.push_back({std::string{cluster.name(use.node)}, use});
            }
            return states;
        },
        py::arg("cluster"));
    py::class_<Policy>(module, "Policy")
        .def(py::init([](std::string_view score) { return Policy{parse_score(score)}; }),
             py::arg("score") = "nos")
        .def_property_readonly("score", [](const Policy& policy) { return name(policy.score); })
        .def(equality())
        .attr("__match_args__") = py::make_tuple("score");
    py::class_<BindState>(module, "Bind")
        .def_readonly("uid", &BindState::uid)
        .def_readonly("node", &BindState::node)
        .def_readonly("gpus", &BindState::gpus)
        .def_readonly("instances", &BindState::instances)
        .def_readonly("volumes", &BindState::volumes)
        .def_readonly("ready", &BindState::ready);
    py::class_<Reason, std::shared_ptr<Reason>>(module, "Reason")
        .def_property_readonly("code", [](const Reason& reason) { return name(reason.code); })
        .def_readonly("message", &Reason::message)
        .def_property_readonly("counts", [](const Reason& reason) {
            return std::map<std::string, std::int64_t>{reason.counts.begin(), reason.counts.end()};
        });
    py::class_<EvictionState>(module, "Eviction")
        .def_readonly("uid", &EvictionState::uid)
        .def_readonly("node", &EvictionState::node)
        .def_readonly("why", &EvictionState::why)
        .def_readonly("for_uid", &EvictionState::for_uid);
    py::class_<OutcomeState>(module, "Outcome")
        .def_readonly("binds", &OutcomeState::binds)
        .def_readonly("evictions", &OutcomeState::evictions)
        .def_readonly("held", &OutcomeState::held)
        .def_readonly("waiting", &OutcomeState::waiting);
    py::class_<SchedulerHandle>(module, "Scheduler")
        .def(py::init<Cluster&, Policy>(), py::arg("cluster"), py::arg("policy") = Policy{},
             py::keep_alive<1, 2>())
        .def("schedule", &schedule)
        .def("place", &place, py::arg("uid"))
        .def(
            "may_reclaim",
            [](SchedulerHandle& self, std::string_view uid, std::string_view victim) {
                const Entry entry{self.cluster.door()};
                const auto pod = self.cluster.find_pod(uid);
                const auto other = self.cluster.find_pod(victim);
                if (!pod || !other || !self.cluster.pod(*other).charged_on().valid()) {
                    throw py::key_error("no such Pod, or it is on no node");
                }
                return self.scheduler.may_reclaim(*pod, *other);
            },
            py::arg("uid"), py::arg("victim"))
        .def(
            "feasible",
            [](SchedulerHandle& self, const PodSpecHandle& spec, const PodLabelsHandle& labels,
               std::int32_t priority) {
                const Entry entry{self.cluster.door()};
                std::vector<std::string> names;
                for (const NodeId node : self.scheduler.feasible(spec.value, labels.value, priority)) {
                    names.emplace_back(self.cluster.name(node));
                }
                return names;
            },
            py::arg("spec"), py::arg("labels") = nobodys_labels(), py::kw_only(), py::arg("priority") = 0)
        .def("fragmentation_ratio", [](SchedulerHandle& self) {
            const Entry entry{self.cluster.door()};
            const Fragmentation all = self.scheduler.fragmentation();
            return all.free == 0 ? 0.0 : static_cast<double>(all.stranded) / static_cast<double>(all.free);
        });
}

}  // namespace nos
