#include "cluster.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

namespace nos {

namespace {

// Whether the agent saw the Pod there, though the ledger has it nowhere.
bool is_seen(const Node& node, std::string_view uid, const Held& held) {
    const Cut& cut = node.cuts[held.gpu];
    return std::ranges::find(cut.claims, Claim{held.placement, PodId{}}) != cut.claims.end() &&
           std::ranges::any_of(node.spec->gpus[held.gpu].instances, [&](const InstanceSpec& instance) {
               return instance.placement == held.placement && instance.pod == uid;
           });
}

bool is_seen(const Node& node, std::string_view uid, std::uint16_t slot) {
    return slot < node.cuts.size() && node.cuts[slot].withheld && node.spec->gpus[slot].pod == uid;
}

// Instances that an assumption names: those that the Pod asks for, each where it fits beside the others.
void require_fit(const Node& node, std::string_view uid, const PodSpec& spec, const Slots& gpus,
                 const Instances& instances) {
    const auto refuse = [](const std::string& what) { throw std::invalid_argument("instances: " + what); };
    if (node.cuts.empty()) {
        if (!instances.empty()) {
            refuse("nos does not cut this node's GPUs");
        }
        return;
    }
    std::vector<std::int64_t> missing;
    for (const ProfileRequest& request : spec.profiles) {
        missing.push_back(request.count);
    }
    std::vector<mig::StateId> states;
    for (const Cut& cut : node.cuts) {
        states.push_back(cut.state);
    }
    for (const Held& held : instances) {
        const bool seen = held.gpu < node.cuts.size() && is_seen(node, uid, held);
        if (held.gpu >= node.cuts.size() || (node.cuts[held.gpu].closed && !seen) ||
            std::ranges::find(gpus, held.gpu) != gpus.end() || std::ranges::count(instances, held) > 1) {
            refuse("GPU " + std::to_string(held.gpu) + " cannot be cut");
        }
        const mig::States& model = *node.spec->gpus[held.gpu].model;
        const auto after = held.placement.profile < model.model().profiles.size() && !seen
                               ? model.next(states[held.gpu], held.placement)
                               : std::nullopt;
        if (!after && !seen) {
            refuse("one does not fit on GPU " + std::to_string(held.gpu));
        }
        states[held.gpu] = after.value_or(states[held.gpu]);
        for (std::size_t i = 0; i < missing.size(); ++i) {
            missing[i] -= find_profile(model, spec.profiles[i]) == held.placement.profile ? 1 : 0;
        }
    }
    if (std::ranges::any_of(missing, [](std::int64_t count) { return count != 0; })) {
        refuse("they are not those that the Pod asks for");
    }
}

}  // namespace

void Cluster::refuse_in_transaction() const {
    if (in_transaction_) {
        throw std::logic_error("a transaction is open on this Cluster: only assume and forget are allowed");
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
    }
    Node settled;
    settled.known = true;
    settled.spec = std::move(spec);
    settled.spec_version = ++versions_;
    settled.pods = node.pods;
    node = std::move(settled);
    if (node.present()) {
        ++present_nodes_;
        const Quantities& allocatable = node.spec->allocatable;
        node.gpu_free.assign(static_cast<std::size_t>(allocatable.gpus), whole_gpu);
        node.gpu_free_whole = allocatable.gpus;
        node.gpu_free_milli = allocatable.gpus * whole_gpu;
        gpu_capacity_milli_ += node.gpu_free_milli;
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
    touch(id);
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

// ---- specs

SpecId Cluster::intern(const std::shared_ptr<const PodSpec>& spec) {
    const std::size_t hash = spec->hash();
    const auto [first, last] = spec_by_hash_.equal_range(hash);
    for (auto candidate = first; candidate != last; ++candidate) {
        InternedSpec& interned = specs_[candidate->second];
        if (interned.spec == spec || *interned.spec == *spec) {
            unused_specs_ -= interned.pods == 0 ? 1 : 0;
            ++interned.pods;
            return candidate->second;
        }
    }
    SpecId id{specs_.size()};
    if (!free_specs_.empty()) {
        id = free_specs_.back();
        free_specs_.pop_back();
    }
    for (const auto& [name, amount] : spec->requests.extended) {
        resource_names_.intern(name);
    }
    specs_.renew(id) = {spec, hash, resolve(*spec), 1};
    spec_by_hash_.emplace(hash, id);
    return id;
}

ExtendedRequests Cluster::resolve(const PodSpec& spec) const {
    ExtendedRequests requests;
    for (const auto& [name, amount] : spec.requests.extended) {
        if (amount > 0) {
            const auto number = resource_names_.find(name);
            requests.emplace_back(number ? ResourceId{*number} : ResourceId{}, amount);
        }
    }
    return requests;
}

void Cluster::release(SpecId spec) {
    if (--specs_[spec].pods == 0) {
        ++unused_specs_;
        if (unused_specs_ > 64 && unused_specs_ * 2 > spec_by_hash_.size()) {
            sweep_specs();
        }
    }
}

void Cluster::sweep_specs() {
    std::erase_if(spec_by_hash_, [this](const auto& entry) { return specs_[entry.second].pods == 0; });
    free_specs_.clear();
    for (std::size_t number = specs_.size(); number-- > 0;) {
        const SpecId id{number};
        if (specs_[id].pods == 0) {
            specs_[id] = {};
            free_specs_.push_back(id);
        }
    }
    unused_specs_ = 0;
}

// ---- pods

void Cluster::upsert_pod(std::string_view uid, const std::shared_ptr<const PodSpec>& spec,
                         std::int32_t priority, std::int64_t arrival, std::string_view node_name, Slots gpus,
                         Instances instances) {
    refuse_in_transaction();
    if (uid.empty()) {
        throw std::invalid_argument("a Pod needs a uid");
    }
    const auto [number, is_new] = uids_.intern(uid);
    const PodId id{number};
    if (is_new) {
        pods_.renew(id).spec = intern(spec);
        demand_.record(*spec);
    }
    Pod& pod = pods_[id];
    pod.priority = priority;
    pod.arrival = arrival;

    NodeId node;
    Phase phase = Phase::bound;
    if (!node_name.empty()) {
        node = intern_node(node_name);
    } else if (pod.node.valid()) {  // an old echo: no Pod ever comes back from a node
        node = pod.node;
        phase = pod.phase;
    } else {
        gpus.clear();
        instances.clear();
    }

    const SpecId old_spec = pod.spec;
    const bool same_spec = is_new || *specs_[old_spec].spec == *spec;
    const bool same_place = pod.phase != Phase::absent && pod.node == node;
    if (same_place && same_spec && (gpus.empty() || gpus == pod.gpus) &&
        (instances.empty() || instances == pod.instances)) {
        if (node.valid()) {
            pod.phase = phase;
        }
        return;
    }
    const NodeId old_node = pod.node;
    if (gpus.empty() && same_place) {
        gpus = pod.gpus;
    }
    if (instances.empty() && same_place) {
        instances = pod.instances;
    }
    if (pod.phase == Phase::waiting) {
        stop_waiting(id);
    } else if (old_node.valid()) {
        detach(id);
    }
    if (!same_spec) {
        pod.spec = intern(spec);
        release(old_spec);
    }
    if (node.valid()) {
        attach(id, node, phase, std::move(gpus), std::move(instances), Claiming::all);
    } else {
        pod.gpus.clear();
        pod.instances.clear();
        start_waiting(id);
    }
    if (old_node.valid() && old_node != node) {
        release_if_unused(old_node);
    }
}

bool Cluster::remove_pod(std::string_view uid) {
    refuse_in_transaction();
    const auto id = find_pod(uid);
    if (!id) {
        return false;
    }
    const NodeId node = pods_[*id].node;
    if (node.valid()) {
        detach(*id);
        release_if_unused(node);
    } else {
        stop_waiting(*id);
    }
    release(pods_[*id].spec);
    pods_[*id] = {};
    uids_.release(id->value());
    return true;
}

void Cluster::assume(PodId id, NodeId node_id, Slots gpus, Instances instances) {
    const Pod& pod = pods_[id];
    const Node& node = nodes_[node_id];
    const PodSpec& spec = *specs_[pod.spec].spec;
    if (pod.phase != Phase::waiting) {
        throw std::invalid_argument("Pod " + std::string{uid(id)} + " does not wait");
    }
    if (!node.present()) {
        throw std::invalid_argument("node " + std::string{name(node_id)} + " is absent");
    }
    if (static_cast<std::int64_t>(gpus.size()) != spec.gpu_slots()) {
        throw std::invalid_argument("Pod " + std::string{uid(id)} + " takes " +
                                    std::to_string(spec.gpu_slots()) + " GPU slots, not " +
                                    std::to_string(gpus.size()));
    }
    std::ranges::sort(gpus);
    for (std::size_t i = 0; i < gpus.size(); ++i) {
        const std::uint16_t slot = gpus[i];
        if (slot >= node.gpu_free.size() ||
            (node.gpu_free[slot] < spec.gpu_slot_milli() && !is_seen(node, uid(id), slot)) ||
            (i > 0 && gpus[i - 1] == slot)) {
            throw std::invalid_argument("GPU slot " + std::to_string(slot) + " of node " +
                                        std::string{name(node_id)} + " has not enough free");
        }
    }
    require_fit(node, uid(id), spec, gpus, instances);
    stop_waiting(id);
    attach(id, node_id, Phase::assumed, std::move(gpus), std::move(instances), Claiming::known);
    if (in_transaction_) {
        journal_.push_back({id, NodeId{}, {}, {}});
    }
}

bool Cluster::forget(PodId id) {
    Pod& pod = pods_[id];
    if (pod.phase != Phase::assumed) {
        return false;
    }
    const NodeId node = pod.node;
    detach(id);
    if (in_transaction_) {
        journal_.push_back({id, node, pod.gpus, pod.instances});
    } else {
        release_if_unused(node);
    }
    pod.gpus.clear();
    pod.instances.clear();
    start_waiting(id);
    return true;
}

// The Pod is as it was, whatever has become of the node: gone, or too small for it.
void Cluster::undo(const Undo& last) {
    if (last.node.valid()) {
        stop_waiting(last.pod);
        attach(last.pod, last.node, Phase::assumed, last.gpus, last.instances, Claiming::known);
    } else {
        forget(last.pod);
    }
}

void Cluster::start_waiting(PodId id) {
    Pod& pod = pods_[id];
    pod.phase = Phase::waiting;
    pod.index = static_cast<std::uint32_t>(waiting_.size());
    waiting_.push_back(id);
}

void Cluster::stop_waiting(PodId id) {
    const std::uint32_t index = pods_[id].index;
    waiting_[index] = waiting_.back();
    pods_[waiting_[index]].index = index;
    waiting_.pop_back();
}

// Puts a Pod that is on no list on a node, where it claims these and what the agent saw it hold.
void Cluster::attach(PodId id, NodeId node_id, Phase phase, Slots gpus, Instances instances,
                     Claiming claiming) {
    Pod& pod = pods_[id];
    Node& node = nodes_[node_id];
    pod.phase = phase;
    pod.node = node_id;
    pod.gpus = std::move(gpus);
    pod.instances = std::move(instances);
    pod.index = static_cast<std::uint32_t>(node.pods.size());
    node.pods.push_back(id);
    if (node.present()) {
        count(node, id);
        if (claiming == Claiming::all) {
            claim_missing(node, id);
        }
        count_excess(node, id, 1);
        touch(node_id);
    }
}

void Cluster::detach(PodId id) {
    Pod& pod = pods_[id];
    Node& node = nodes_[pod.node];
    if (node.present()) {
        uncount(node, id);
        touch(pod.node);
    }
    node.pods[pod.index] = node.pods.back();
    pods_[node.pods[pod.index]].index = pod.index;
    node.pods.pop_back();
    pod.node = NodeId{};
}

// ---- sums of a present node

void Cluster::count(Node& node, PodId id) {
    const InternedSpec& interned = specs_[pods_[id].spec];
    add_requests(node, interned, 1);
    node.host_ports.insert(node.host_ports.end(), interned.spec->host_ports.begin(),
                           interned.spec->host_ports.end());
    claim_known(node, id);
}

void Cluster::uncount(Node& node, PodId id) {
    const InternedSpec& interned = specs_[pods_[id].spec];
    add_requests(node, interned, -1);
    for (const HostPort& host_port : interned.spec->host_ports) {
        node.host_ports.erase(std::ranges::find(node.host_ports, host_port));
    }
    count_excess(node, id, -1);
    unclaim(node, id);
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
