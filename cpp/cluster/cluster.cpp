#include "cluster.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

namespace nos {

void Cluster::refuse_in_transaction() const {
    if (in_transaction_) {
        throw std::logic_error("a transaction is open on this Cluster: only decisions are allowed");
    }
}

std::optional<NodeId> Cluster::find_node(std::string_view name) const {
    const auto number = node_names_.find(name);
    return number ? std::optional{NodeId{*number}} : std::nullopt;
}

std::optional<PodId> Cluster::find_pod(std::string_view uid) const {
    const auto number = uids_.find(uid);
    return number ? std::optional{PodId{*number}} : std::nullopt;
}

// ---- nodes

void Cluster::upsert_node(std::string_view name, std::shared_ptr<const NodeSpec> spec) {
    refuse_in_transaction();
    if (name.empty()) {
        throw std::invalid_argument("a node needs a name");
    }
    const NodeId id = intern_node(name);
    if (!nodes_[id].present() || *nodes_[id].spec != *spec) {
        set_spec(id, std::move(spec));
    }
}

bool Cluster::remove_node(std::string_view name) {
    refuse_in_transaction();
    const auto id = find_node(name);
    if (!id || !nodes_[*id].present()) {
        return false;
    }
    set_spec(*id, nullptr);
    release_if_unused(*id);
    return true;
}

NodeId Cluster::intern_node(std::string_view name) {
    const auto [number, is_new] = node_names_.intern(name);
    const NodeId id{number};
    if (is_new) {
        Node& node = nodes_.renew(id);
        node.known = true;
        node.spec_version = ++versions_;
    }
    return id;
}

void Cluster::release_if_unused(NodeId node) {
    if (nodes_[node].known && !in_use(node)) {
        nodes_[node].known = false;
        node_names_.release(node.value());
        // Nobody wishes for whoever gets its number.
        for (std::size_t number = 0; wishes_ > 0 && number < pods_.size(); ++number) {
            if (pods_[PodId{number}].wish == node) {
                set_wish(PodId{number}, {});
            }
        }
    }
}

// Gives a node another spec (null: it is gone) and settles its sums anew. Its Pods keep their GPU slots if
// they can.
void Cluster::set_spec(NodeId id, std::shared_ptr<const NodeSpec> spec) {
    Node& node = nodes_[id];
    if (node.present()) {
        --present_nodes_;
        const auto capacity = static_cast<std::int64_t>(node.gpu_free.size()) * whole_gpu;
        gpu_capacity_milli_ -= capacity;
        gpu_used_milli_ -= capacity - node.gpu_free_milli;
        forget_cuts(node);
        count_gpu_memory(id, false);
    }
    for (const VolumeId volume : node.attached) {
        attachments_.release(volume);
    }
    Node settled;
    settled.known = true;
    settled.spec = std::move(spec);
    settled.spec_version = ++versions_;
    settled.pods = node.pods;
    settled.nominated = node.nominated;
    node = std::move(settled);
    topologies_.set(id, node.present() ? node.spec->labels : Labels{});
    if (node.present()) {
        ++present_nodes_;
        count_gpu_memory(id, true);
        const Quantities& allocatable = node.spec->allocatable;
        node.gpu_free.assign(static_cast<std::size_t>(allocatable.gpus), whole_gpu);
        node.gpu_free_whole = allocatable.gpus;
        node.gpu_free_milli = allocatable.gpus * whole_gpu;
        gpu_capacity_milli_ += node.gpu_free_milli;
        settle_volumes(node);
        for (const auto& [name, amount] : allocatable.extended) {
            const ResourceId resource{resource_names_.intern(name).first};
            use_of(node.extended, resource).allocatable = amount;
        }
        settle_cuts(node);
        // What Pods are known to hold comes before what others look for, and what the API server knows of
        // before what is only assumed.
        std::vector<PodId> order{node.pods.begin(), node.pods.end()};
        std::ranges::stable_partition(order, [&](PodId pod) { return pods_[pod].phase == Phase::bound; });
        for (const PodId pod : order) {
            count(node, pod);
        }
        for (const PodId pod : order) {
            claim_missing(node, pod);
            count_excess(node, pod, 1);
        }
    }
    for (const PodId pod : node.pods) {
        settle_charge(pod);
    }
    for (const PodId pod : node.nominated) {
        settle_charge(pod);
    }
    touch(id);
}

void Cluster::settle_volumes(Node& node) {
    for (const Attachment& attachment : node.spec->attached) {
        node.attached.push_back(attachments_.intern(attachment));
        node.entry_of(node.attached.back()).seen = true;
    }
    for (const auto& [driver, limit] : node.spec->attach_limits) {
        node.attach_limits.emplace_back(attachments_.driver(driver), limit);
    }
}

void Cluster::touch(NodeId node) {
    if (changes_.size() > std::max<std::size_t>(4096, 4 * nodes_.size())) {
        const auto half = static_cast<std::ptrdiff_t>(changes_.size() / 2);
        changes_.erase(changes_.begin(), changes_.begin() + half);
        dropped_changes_ += static_cast<std::uint64_t>(half);
    }
    changes_.push_back(node);
    nodes_[node].version = ++versions_;
}

std::optional<std::span<const NodeId>> Cluster::changes_since(std::uint64_t cursor) const {
    if (cursor < dropped_changes_) {
        return std::nullopt;
    }
    return std::span{changes_}.subspan(cursor - dropped_changes_);
}

// ---- sums of a present node

void Cluster::count(Node& node, PodId id) {
    const InternedSpec& interned = specs_[pods_[id].spec];
    add_requests(node, interned, 1);
    node.host_ports.insert(node.host_ports.end(), interned.spec->host_ports.begin(),
                           interned.spec->host_ports.end());
    for (const VolumeId volume : interned.volumes) {
        node.use_volume(volume);
    }
    claim_known(node, id);
}

// A Pod's part in the sums of its node, with the slots that it is known to hold or looks for.
void Cluster::enter(Node& node, PodId id, Claiming claiming) {
    count(node, id);
    if (claiming == Claiming::all) {
        claim_missing(node, id);
    }
    count_excess(node, id, 1);
}

void Cluster::uncount(Node& node, PodId id, bool is_gone) {
    const InternedSpec& interned = specs_[pods_[id].spec];
    add_requests(node, interned, -1);
    for (const HostPort& host_port : interned.spec->host_ports) {
        node.host_ports.erase(std::ranges::find(node.host_ports, host_port));
    }
    for (const VolumeId volume : interned.volumes) {
        node.leave_volume(volume);
    }
    count_excess(node, id, -1);
    unclaim(node, id, is_gone);
}

// What a Pod lacks: the API server let another scheduler overcommit the node, or it is cut in another way
// than anybody told; and the ledger says so.
void Cluster::count_excess(Node& node, PodId id, std::int64_t sign) const {
    const Pod& pod = pods_[id];
    const PodSpec& spec = *specs_[pod.spec].spec;
    node.gpu_excess += sign * (spec.gpu_slots() - static_cast<std::int64_t>(pod.gpus.size()));
    if (!node.cuts.empty()) {
        node.mig_excess += sign * (spec.instances() - static_cast<std::int64_t>(pod.instances.size()));
    }
}

void Cluster::add_requests(Node& node, const InternedSpec& interned, std::int64_t sign) {
    for (std::size_t i = 0; i < basic_count; ++i) {
        node.requested[i] += sign * interned.spec->requests.basic[i];
    }
    for (const auto& [resource, amount] : interned.extended) {
        use_of(node.extended, resource).requested += sign * amount;
    }
}

}  // namespace nos
