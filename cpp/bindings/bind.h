// What each layer registers, and the spellings they share.
#pragma once

#include <pybind11/operators.h>
#include <pybind11/pybind11.h>

#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "cluster.h"
#include "node_group.h"
#include "scheduler.h"
#include "states.h"

namespace nos {

void bind_mig(pybind11::module_& module);
void bind_selectors(const pybind11::module_& module);
void bind_pod_spec(const pybind11::module_& module);
void bind_node_spec(const pybind11::module_& module);
void bind_cluster(const pybind11::module_& module);
void bind_edits(const pybind11::module_& module);
void bind_gangs(const pybind11::module_& module);
void bind_quotas(const pybind11::module_& module, pybind11::class_<Cluster>& cluster);
void bind_scheduling(pybind11::module_& module);
void bind_scaling(pybind11::module_& module);
void bind_scale_down(pybind11::module_& module);

// == of two values of a class.
inline auto equality() {
    const auto other = pybind11::self;
    return pybind11::self == other;
}

template <class T, std::size_t N>
std::vector<T> listed(const Few<T, N>& values) {
    return {values.begin(), values.end()};
}

using LabelMap = std::map<std::string, std::string>;

inline Labels labels(const LabelMap& map) { return {map.begin(), map.end()}; }
inline LabelMap label_map(const Labels& labels) { return {labels.begin(), labels.end()}; }

// A placement as Python has it: the profile's name and its start.
using NamedPlacement = std::pair<std::string, int>;
mig::Placement placement_of(const mig::States& states, const NamedPlacement& named);
NamedPlacement named(const mig::States& states, mig::Placement placement);

// An instance on a node's GPU: slot, profile, start.
using NamedHeld = std::tuple<std::uint16_t, std::string, int>;
std::vector<NamedHeld> named(const Cluster& cluster, NodeId node, const Instances& instances);

// A Bind in names, made while the Cluster is still entered.
struct BindState {
    std::string uid;
    std::string node;
    std::vector<std::uint16_t> gpus;
    std::vector<NamedHeld> instances;
    std::vector<std::string> volumes;
    bool ready = false;
};
BindState named(const Cluster& cluster, const Bind& bind);

// What a node's GPUs are to become, by slot.
std::vector<std::pair<bool, std::vector<NamedPlacement>>> named_targets(const Cluster& cluster, NodeId id);

// Likewise a node that is to be ordered.
struct NewNodeState {
    std::string group;
    std::string name;
    std::vector<std::string> pods;
    std::vector<std::pair<bool, std::vector<NamedPlacement>>> cuts;
};
NewNodeState named(const Cluster& cluster, const NodeGroup& group, NodeId node);

// A PodSpec of Python shares its immutable value with every Cluster that it is given to.
struct PodSpecHandle {
    std::shared_ptr<const PodSpec> value;
};

// Likewise.
struct PodLabelsHandle {
    std::shared_ptr<const PodLabels> value;
};

// Of Pods of which nobody said any: all share them.
inline PodLabelsHandle nobodys_labels() { return {std::make_shared<PodLabels>()}; }

struct QuotaSpecHandle {
    std::shared_ptr<const QuotaSpec> value;
};

struct NodeSpecHandle {
    std::shared_ptr<const NodeSpec> value;
};

}  // namespace nos
