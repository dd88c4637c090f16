// What each layer registers, and the spellings they share.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <string>
#include <tuple>
#include <utility>

#include "cluster.h"
#include "states.h"

namespace nos {

void bind_mig(pybind11::module_& module);
void bind_specs(const pybind11::module_& module);
void bind_cluster(const pybind11::module_& module);
void bind_gangs(const pybind11::module_& module);
void bind_quotas(const pybind11::module_& module, pybind11::class_<Cluster>& cluster);
void bind_scheduling(const pybind11::module_& module);

template <class T, std::size_t N>
std::vector<T> listed(const Few<T, N>& values) {
    return {values.begin(), values.end()};
}

// A placement as Python has it: the profile's name and its start.
using NamedPlacement = std::pair<std::string, int>;
mig::Placement placement_of(const mig::States& states, const NamedPlacement& named);
NamedPlacement named(const mig::States& states, mig::Placement placement);

// An instance on a node's GPU: slot, profile, start.
using NamedHeld = std::tuple<std::uint16_t, std::string, int>;
std::vector<NamedHeld> named(const Cluster& cluster, NodeId node, const Instances& instances);

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

struct NodeSpecHandle {
    std::shared_ptr<const NodeSpec> value;
};

}  // namespace nos
