// Namespaces of a Cluster, and the Pods in them.
#include <utility>

#include "cluster.h"

namespace nos {

void Cluster::upsert_namespace(std::string_view name, Labels labels) {
    refuse_in_transaction();
    if (selection_.set_namespace(name, std::move(labels))) {
        touch_namespace(name);
    }
}

bool Cluster::remove_namespace(std::string_view name) {
    refuse_in_transaction();
    const bool known = selection_.remove_namespace(name);
    if (known) {
        touch_namespace(name);
    }
    return known;
}

// Its Pods may be selected by others now.
void Cluster::touch_namespace(std::string_view name) {
    for (const Pod& pod : pods_.values()) {
        const NodeId node = pod.node.valid() ? pod.node : pod.nominated;
        if (node.valid() && selection_.labels(pod.labels).namespace_name == name) {
            touch(node);
        }
    }
}

std::span<const PodId> Cluster::pods_in(std::string_view namespace_name) const {
    const auto space = namespaces_.find(namespace_name);
    return space ? namespaces_.pods(*space) : std::span<const PodId>{};
}

void Cluster::set_labels(PodId id, const std::shared_ptr<const PodLabels>& labels) {
    Pod& pod = pods_[id];
    const LabelsId before = std::exchange(pod.labels, selection_.intern(labels));
    const bool moves =
        !pod.space.valid() || selection_.labels(before).namespace_name != labels->namespace_name;
    if (before.valid()) {
        selection_.release(before);
    }
    if (moves) {
        leave_namespace(pod);
        pod.space = namespaces_.intern(labels->namespace_name);
        pod.place_in_space = namespaces_.enter(pod.space, id);
        put_under(pod, namespaces_.quota(pod.space));
    }
}

void Cluster::leave_namespace(Pod& pod) {
    if (pod.space.valid()) {
        if (const auto moved = namespaces_.leave(pod.space, pod.place_in_space)) {
            pods_[*moved].place_in_space = pod.place_in_space;
        }
        namespaces_.release(pod.space);
        pod.space = {};
    }
}

}  // namespace nos
