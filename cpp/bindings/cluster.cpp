#include <pybind11/operators.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <map>
#include <string>

#include "bind.h"
#include "transaction.h"

namespace py = pybind11;

namespace nos {

namespace {

using Mapping = std::map<std::string, std::int64_t>;

// On an absent node, or one that nos does not cut, there is nothing to hold.
Instances instances_of(const Cluster& cluster, std::string_view node,
                       const std::vector<NamedHeld>& named_instances) {
    Instances instances;
    const auto id = cluster.find_node(node);
    for (const auto& [slot, profile, start] : named_instances) {
        if (id && cluster.node(*id).present() && slot < cluster.node(*id).spec->gpus.size()) {
            if (const auto& model = cluster.node(*id).spec->gpus[slot].model; model != nullptr) {
                instances.push_back({slot, placement_of(*model, {profile, start})});
            }
        }
    }
    return instances;
}

// ---- copies of what the ledger has

struct NodeState {
    std::string name;
    Node node;
    Mapping allocatable;
    Mapping requested;
};

NodeState node_state(const Cluster& cluster, NodeId id) {
    const Node& node = cluster.node(id);
    NodeState state{std::string{cluster.name(id)}, node, {}, {}};
    if (!node.present()) {
        return state;
    }
    const auto put = [&](std::string_view resource, std::int64_t allocatable, std::int64_t requested) {
        state.allocatable.emplace(resource, allocatable);
        state.requested.emplace(resource, requested);
    };
    const Quantities& allocatable = node.spec->allocatable;
    for (std::size_t i = 0; i < basic_count; ++i) {
        put(basic_names.at(i), allocatable.basic.at(i), node.requested.at(i));
    }
    put(pods_resource, allocatable.pods, static_cast<std::int64_t>(node.pods.size()));
    for (const ExtendedUse& use : node.extended) {
        put(cluster.name(use.resource), use.allocatable, use.requested);
    }
    state.allocatable.emplace(gpu_resource, allocatable.gpus);
    return state;
}

struct PodState {
    std::string uid;
    std::string node;
    Pod pod;
    std::vector<NamedHeld> instances;
    bool placed = false;
    bool ready = false;
};

std::string_view phase_name(Phase phase) {
    switch (phase) {
        case Phase::assumed:
            return "assumed";
        case Phase::bound:
            return "bound";
        case Phase::nominated:
            return "nominated";
        default:
            return "waiting";
    }
}

NodeId node_called(const Cluster& cluster, std::string_view name) {
    const auto id = cluster.find_node(name);
    if (!id) {
        throw py::key_error("no node " + std::string{name});
    }
    return *id;
}

PodId pod_called(const Cluster& cluster, std::string_view uid) {
    const auto id = cluster.find_pod(uid);
    if (!id) {
        throw py::key_error("no Pod with uid " + std::string{uid});
    }
    return *id;
}

void bind_states(const py::module_& module) {
    py::class_<NodeState>(module, "NodeState")
        .def_readonly("name", &NodeState::name)
        .def_property_readonly("present", [](const NodeState& state) { return state.node.present(); })
        .def_property_readonly("pods", [](const NodeState& state) { return state.node.pods.size(); })
        .def_readonly("allocatable", &NodeState::allocatable)
        .def_readonly("requested", &NodeState::requested)
        .def_property_readonly("gpu_free_milli",
                               [](const NodeState& state) { return listed(state.node.gpu_free); });
    py::class_<PodState>(module, "PodState")
        .def_readonly("uid", &PodState::uid)
        .def_readonly("node", &PodState::node)
        .def_property_readonly(
            "phase",
            [](const PodState& state) { return state.pod.held ? "held" : phase_name(state.pod.phase); })
        .def_property_readonly("leaving", [](const PodState& state) { return state.pod.leaving; })
        .def_property_readonly("gpus", [](const PodState& state) { return listed(state.pod.gpus); })
        .def_readonly("instances", &PodState::instances)
        .def_property_readonly("volumes", [](const PodState& state) { return state.pod.volumes; })
        .def_readonly("placed", &PodState::placed)
        .def_readonly("ready", &PodState::ready)
        .def_property_readonly("priority", [](const PodState& state) { return state.pod.priority; });
}

}  // namespace

std::vector<NamedHeld> named(const Cluster& cluster, NodeId node, const Instances& instances) {
    std::vector<NamedHeld> result;
    for (const Held& held : instances) {
        // On an absent node nobody knows what they were.
        if (cluster.node(node).present() && held.gpu < cluster.node(node).cuts.size()) {
            const auto [profile, start] =
                named(*cluster.node(node).spec->gpus[held.gpu].model, held.placement);
            result.emplace_back(held.gpu, profile, start);
        }
    }
    return result;
}

namespace {

// An open Transaction of Python: ended by its with block, or when nobody holds it any more.
struct TransactionHandle {
    std::unique_ptr<Transaction> transaction;
};

void check(const Cluster& cluster) {
    const Entry entry{cluster.door()};
    try {
        cluster.check();
    } catch (const std::logic_error& error) {
        py::set_error(PyExc_AssertionError, error.what());
        throw py::error_already_set();
    }
}

void bind_ledger(const py::module_& module) {
    py::class_<TransactionHandle>(module, "Transaction")
        .def("commit", [](TransactionHandle& self) { self.transaction->commit(); })
        .def("rollback", [](TransactionHandle& self) { self.transaction->rollback(); })
        .def(
            "__enter__", [](TransactionHandle& self) -> TransactionHandle& { return self; },
            py::return_value_policy::reference_internal)
        .def("__exit__", [](TransactionHandle& self, const py::args&) { self.transaction->rollback(); });

    py::class_<Cluster> cluster{module, "Cluster"};
    bind_quotas(module, cluster);
    const auto copy = [](const Cluster& of) {
        const Entry entry{of.door()};
        of.refuse_in_transaction();
        return std::make_unique<Cluster>(of);
    };
    cluster.def(py::init<>())
        .def(py::init(copy), py::arg("of"))
        .def("copy", copy)
        .def(
            "upsert_node",
            [](Cluster& self, std::string_view name, const NodeSpecHandle& spec) {
                const Entry entry{self.door()};
                self.upsert_node(name, spec.value);
            },
            py::arg("name"), py::arg("spec"))
        .def(
            "remove_node",
            [](Cluster& self, std::string_view name) {
                const Entry entry{self.door()};
                return self.remove_node(name);
            },
            py::arg("name"))
        .def(
            "upsert_pod",
            [](Cluster& self, std::string_view uid, const PodSpecHandle& spec, const PodLabelsHandle& labels,
               std::int32_t priority, std::int64_t arrival, std::string_view node, bool terminating,
               bool nominated, std::string_view gang, const std::vector<std::uint16_t>& gpus,
               const std::vector<NamedHeld>& instances, bool preempts, std::string_view wish, bool movable) {
                const Entry entry{self.door()};
                self.upsert_pod(uid, {spec.value, labels.value, priority, arrival, node, terminating,
                                      nominated, preempts, movable, wish, gang,
                                      Slots{gpus.begin(), gpus.end()}, instances_of(self, node, instances)});
            },
            py::arg("uid"), py::arg("spec"), py::kw_only(), py::arg("labels") = nobodys_labels(),
            py::arg("priority") = 0, py::arg("arrival") = 0, py::arg("node") = "",
            py::arg("terminating") = false, py::arg("nominated") = false, py::arg("gang") = "",
            py::arg("gpus") = std::vector<std::uint16_t>{}, py::arg("instances") = std::vector<NamedHeld>{},
            py::arg("preempts") = true, py::arg("wish") = "", py::arg("movable") = false)
        .def(
            "remove_pod",
            [](Cluster& self, std::string_view uid) {
                const Entry entry{self.door()};
                return self.remove_pod(uid);
            },
            py::arg("uid"))
        .def(
            "upsert_namespace",
            [](Cluster& self, std::string_view name, const std::map<std::string, std::string>& labels) {
                const Entry entry{self.door()};
                self.upsert_namespace(name, Labels{labels.begin(), labels.end()});
            },
            py::arg("name"), py::arg("labels"))
        .def(
            "remove_namespace",
            [](Cluster& self, std::string_view name) {
                const Entry entry{self.door()};
                return self.remove_namespace(name);
            },
            py::arg("name"))
        .def(
            "assume",
            [](Cluster& self, std::string_view uid, std::string_view node,
               const std::vector<std::uint16_t>& gpus, const std::vector<NamedHeld>& instances,
               std::vector<std::string> volumes) {
                const Entry entry{self.door()};
                self.assume(pod_called(self, uid), node_called(self, node), Slots{gpus.begin(), gpus.end()},
                            instances_of(self, node, instances), std::move(volumes));
            },
            py::arg("uid"), py::arg("node"), py::arg("gpus") = std::vector<std::uint16_t>{},
            py::arg("instances") = std::vector<NamedHeld>{}, py::arg("volumes") = std::vector<std::string>{})
        .def(
            "forget",
            [](Cluster& self, std::string_view uid) {
                const Entry entry{self.door()};
                return self.forget(pod_called(self, uid));
            },
            py::arg("uid"))
        .def(
            "hold",
            [](Cluster& self, std::string_view uid, std::string_view node) {
                const Entry entry{self.door()};
                self.hold(pod_called(self, uid), node_called(self, node));
            },
            py::arg("uid"), py::arg("node"))
        .def(
            "release",
            [](Cluster& self, std::string_view uid) {
                const Entry entry{self.door()};
                return self.release(pod_called(self, uid));
            },
            py::arg("uid"))
        .def(
            "protect",
            [](Cluster& self, std::string_view uid, bool on) {
                const Entry entry{self.door()};
                self.protect(pod_called(self, uid), on);
            },
            py::arg("uid"), py::arg("on"))
        .def(
            "upsert_budget",
            [](Cluster& self, std::string_view name, const PodSelector& selector, std::int64_t allowed) {
                const Entry entry{self.door()};
                self.upsert_budget(name, selector, allowed);
            },
            py::arg("name"), py::arg("selector"), py::arg("allowed"))
        .def(
            "remove_budget",
            [](Cluster& self, std::string_view name) {
                const Entry entry{self.door()};
                return self.remove_budget(name);
            },
            py::arg("name"))
        .def(
            "expect",
            [](Cluster& self, const PodSpecHandle& spec, std::int64_t pods) {
                if (pods < 0 || pods > 1'000'000) {
                    throw py::value_error("pods must be between 0 and 1000000");
                }
                const Entry entry{self.door()};
                self.expect(*spec.value, pods);
            },
            py::arg("spec"), py::arg("pods") = 1)
        .def(
            "transaction",
            [](Cluster& self) {
                const Entry entry{self.door()};
                return TransactionHandle{std::make_unique<Transaction>(self)};
            },
            py::keep_alive<0, 1>())
        .def(
            "node",
            [](const Cluster& self, std::string_view name) {
                const Entry entry{self.door()};
                return node_state(self, node_called(self, name));
            },
            py::arg("name"))
        .def(
            "targets",
            [](const Cluster& self, std::string_view name) {
                const Entry entry{self.door()};
                return named_targets(self, node_called(self, name));
            },
            py::arg("name"))
        .def("nodes",
             [](const Cluster& self) {
                 const Entry entry{self.door()};
                 std::vector<NodeState> states;
                 for (std::size_t number = 0; number < self.node_bound(); ++number) {
                     if (self.in_use(NodeId{number})) {
                         states.push_back(node_state(self, NodeId{number}));
                     }
                 }
                 return states;
             })
        .def(
            "pod",
            [](const Cluster& self, std::string_view uid) {
                const Entry entry{self.door()};
                const PodId id = pod_called(self, uid);
                const Pod& pod = self.pod(id);
                const NodeId node = pod.held ? pod.nominated : pod.node;
                return PodState{std::string{uid},
                                node.valid() ? std::string{self.name(node)} : "",
                                pod,
                                named(self, pod.node, pod.instances),
                                self.placed(id),
                                self.ready(id)};
            },
            py::arg("uid"))
        .def(
            "__contains__",
            [](const Cluster& self, std::string_view uid) {
                const Entry entry{self.door()};
                return self.find_pod(uid).has_value();
            },
            py::arg("uid"))
        .def_property_readonly("node_count", &Cluster::node_count)
        .def_property_readonly("pod_count", &Cluster::pod_count)
        .def_property_readonly("waiting_count", [](const Cluster& self) { return self.waiting().size(); })
        .def_property_readonly("gpu_capacity_milli", &Cluster::gpu_capacity_milli)
        .def_property_readonly("gpu_used_milli", &Cluster::gpu_used_milli)
        .def("check", &check);
}

}  // namespace

std::vector<std::pair<bool, std::vector<NamedPlacement>>> named_targets(const Cluster& cluster, NodeId id) {
    std::vector<std::pair<bool, std::vector<NamedPlacement>>> result;
    const std::vector<Target> targets = cluster.targets(id);
    for (std::size_t slot = 0; slot < targets.size(); ++slot) {
        auto& [mig, instances] = result.emplace_back(targets[slot].mig, std::vector<NamedPlacement>{});
        for (const mig::Placement placement : targets[slot].instances) {
            instances.push_back(named(*cluster.node(id).spec->gpus[slot].model, placement));
        }
    }
    return result;
}

void bind_cluster(const py::module_& module) {
    py::register_exception<ClusterBusy>(module, "ClusterBusy", PyExc_RuntimeError);
    bind_states(module);
    bind_ledger(module);
}

}  // namespace nos
