// Pods of a Cluster: those that wait, and those that have a node.
#include <algorithm>
#include <iterator>
#include <stdexcept>
#include <string>
#include <utility>

#include "cluster.h"

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

void Cluster::upsert_pod(std::string_view uid, PodRecord record) {
    refuse_in_transaction();
    if (uid.empty()) {
        throw std::invalid_argument("a Pod needs a uid");
    }
    const auto [number, is_new] = uids_.intern(uid);
    const PodId id{number};
    if (is_new) {
        Pod& made = pods_.renew(id);
        made.spec = intern(record.spec);
        set_labels(id, record.labels);
        demand_.record(*record.spec);
    }
    Pod& pod = pods_[id];
    if (pod.quota.valid() && (pod.priority != record.priority || pod.arrival != record.arrival)) {
        quotas_.touch(pod.quota);
    }
    if (pod.node.valid()) {
        count_rank(pod, false);
    }
    pod.priority = record.priority;
    pod.movable = record.movable;
    if (pod.node.valid()) {
        count_rank(pod, true);
    }
    pod.arrival = record.arrival;
    pod.preempts = record.preempts;
    if (!record.node.empty()) {
        set_wish(id, {});
    } else if (!pod.wish.valid()) {  // what we know is newer than what the API server has been told
        set_wish(id, find_node(record.wish).value_or(NodeId{}));
    }
    set_gang(id, record.gang);

    if (record.nominated) {
        if (pod.node.valid()) {
            return;  // an old echo
        }
        set_terminating(pod, record.terminating);
        const NodeId old_node = leave(id);
        if (*specs_[pod.spec].spec != *record.spec) {
            release(std::exchange(pod.spec, intern(record.spec)));
        }
        set_labels(id, record.labels);
        nominate(id, intern_node(record.node));
        if (old_node.valid()) {
            release_if_unused(old_node);
        }
        return;
    }
    NodeId node;
    Phase phase = Phase::bound;
    if (!record.node.empty()) {
        node = intern_node(record.node);
    } else if (pod.node.valid()) {  // an old echo: no Pod ever comes back from a node
        node = pod.node;
        phase = pod.phase;
    } else {
        record.gpus.clear();
        record.instances.clear();
    }

    const SpecId old_spec = pod.spec;
    const bool same_spec = is_new || *specs_[old_spec].spec == *record.spec;
    const bool same_place = pod.phase != Phase::absent && pod.phase != Phase::nominated && pod.node == node;
    bool same_looks = pod.terminating == record.terminating && (!node.valid() || pod.phase == phase);
    set_terminating(pod, record.terminating);
    if (selection_.labels(pod.labels) != *record.labels) {
        set_labels(id, record.labels);
        same_looks = false;
    }
    if (same_place && same_spec && (record.gpus.empty() || record.gpus == pod.gpus) &&
        (record.instances.empty() || record.instances == pod.instances)) {
        if (node.valid()) {
            if (phase == Phase::bound) {
                choose_volumes(pod, false);
                pod.volumes.clear();
            }
            pod.phase = phase;
            if (!same_looks) {
                touch(node);
            }
        }
        return;
    }
    if (record.gpus.empty() && same_place) {
        record.gpus = pod.gpus;
    }
    if (record.instances.empty() && same_place) {
        record.instances = pod.instances;
    }
    const NodeId old_node = leave(id);
    if (!same_spec) {
        pod.spec = intern(record.spec);
        release(old_spec);
    }
    if (node.valid()) {
        attach(id, node, phase, std::move(record.gpus), std::move(record.instances), Claiming::all);
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
    const NodeId node = leave(*id);
    if (node.valid()) {
        release_if_unused(node);
    }
    set_leaving(*id, false);
    leave_gang(*id);
    release(pods_[*id].spec);
    selection_.release(pods_[*id].labels);
    leave_namespace(pods_[*id]);
    set_wish(*id, {});
    pods_[*id] = {};
    uids_.release(id->value());
    return true;
}

void Cluster::assume(PodId id, NodeId node_id, Slots gpus, Instances instances,
                     std::vector<std::string> volumes) {
    Pod& pod = pods_[id];
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
    require_unchosen(volumes);
    pod.volumes = std::move(volumes);
    stop_waiting(id);
    attach(id, node_id, Phase::assumed, std::move(gpus), std::move(instances), Claiming::known);
    if (in_transaction_) {
        journal_.push_back({Act::assumed, id, NodeId{}, {}, {}, {}});
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
        journal_.push_back({Act::forgotten, id, node, pod.gpus, pod.instances, pod.volumes});
    } else {
        release_if_unused(node);
    }
    pod.gpus.clear();
    pod.instances.clear();
    pod.volumes.clear();
    start_waiting(id);
    return true;
}

// The Pod is as it was, whatever has become of the node: gone, or too small for it.
void Cluster::undo(const Undo& last) {
    switch (last.act) {
        case Act::assumed:
            forget(last.pod);
            break;
        case Act::forgotten:
            stop_waiting(last.pod);
            pods_[last.pod].volumes = last.volumes;
            attach(last.pod, last.node, Phase::assumed, last.gpus, last.instances, Claiming::known);
            break;
        case Act::displaced:
            stop_waiting(last.pod);
            attach(last.pod, last.node, Phase::bound, last.gpus, last.instances, Claiming::known);
            break;
        case Act::put_back:
            detach(last.pod, true);
            pods_[last.pod].gpus.clear();
            pods_[last.pod].instances.clear();
            start_waiting(last.pod);
            break;
        case Act::held:
            release(last.pod);
            set_wish(last.pod, last.node);
            break;
        case Act::released:
            hold(last.pod, last.node);
            break;
        case Act::wished:
            set_wish(last.pod, last.node);
            break;
        case Act::left:
            set_leaving(last.pod, false);
            break;
        case Act::stayed:
            set_leaving(last.pod, true);
            break;
        case Act::closed:
            set_going(last.node, false);
            break;
        case Act::opened:
            set_going(last.node, true);
            break;
    }
}

// Back to when the journal was that long.
void Cluster::undo_to(std::size_t mark) {
    const bool was_open = std::exchange(in_transaction_, false);  // what is undone is not to be undone again
    while (journal_.size() > mark) {
        undo(journal_.back());
        journal_.pop_back();
    }
    in_transaction_ = was_open;
}

// Off every list; what it was about to get is somebody else's. Where it was: nobody may need that any more.
NodeId Cluster::leave(PodId id) {
    Pod& pod = pods_[id];
    NodeId node = pod.node;
    if (pod.phase == Phase::waiting) {
        stop_waiting(id);
    } else if (pod.phase == Phase::nominated) {
        node = std::exchange(pod.nominated, NodeId{});
        std::erase(nodes_[node].nominated, id);
        touch(node);
        if (std::exchange(pod.held, false)) {
            held_.erase(id);
            uncharge(id);
        }
    } else if (pod.phase != Phase::absent) {
        detach(id);
        pod.volumes.clear();
    }
    pod.phase = Phase::absent;
    return node;
}

void Cluster::nominate(PodId id, NodeId node) {
    pods_[id].phase = Phase::nominated;
    pods_[id].nominated = node;
    nodes_[node].nominated.push_back(id);
    touch(node);
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
    count_in_gang(pod, 1);
    take_claims(pod, true);
    choose_volumes(pod, true);
    if (phase != Phase::nominated) {
        count_rank(pod, true);
        settle_charge(id);
    }
    if (node.present()) {
        enter(node, id, claiming);
    }
    touch(node_id);
}

// is_gone: so is what the node's agent sees in its hands.
void Cluster::detach(PodId id, bool is_gone) {
    Pod& pod = pods_[id];
    Node& node = nodes_[pod.node];
    if (pod.phase != Phase::nominated) {
        count_rank(pod, false);
        uncharge(id);
    }
    if (node.present()) {
        uncount(node, id, is_gone);
    }
    touch(pod.node);  // of an absent one, too: what the Pod had for itself is free
    node.pods[pod.index] = node.pods.back();
    pods_[node.pods[pod.index]].index = pod.index;
    node.pods.pop_back();
    count_in_gang(pod, -1);
    take_claims(pod, false);
    choose_volumes(pod, false);
    pod.node = NodeId{};
}

void Cluster::take_claims(const Pod& pod, bool taken) {
    for (const ClaimId claim : specs_[pod.spec].sole_claims) {
        claim_pods_[claim] += taken ? 1U : ~0U;
    }
}

void Cluster::require_unchosen(const std::vector<std::string>& volumes) const {
    for (const std::string& volume : volumes) {
        if (!volume.empty() && volume_chosen(volume)) {
            throw std::invalid_argument("volume " + volume + " is chosen for another Pod");
        }
    }
}

void Cluster::choose_volumes(const Pod& pod, bool chosen) {
    for (const std::string& volume : pod.volumes) {
        if (volume.empty()) {
            continue;  // it is to be made
        }
        ++choices_version_;
        if (chosen) {
            chosen_.insert(volume);
        } else {
            chosen_.erase(volume);
        }
    }
}

bool Cluster::claim_taken(const InternedSpec& spec) const {
    return std::ranges::any_of(spec.sole_claims, [&](ClaimId claim) { return claim_pods_[claim] > 0; });
}

}  // namespace nos
