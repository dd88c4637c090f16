// Room that is made for Pods: who is held on a node, who leaves for whom, and what if.
#include <algorithm>
#include <iterator>
#include <stdexcept>
#include <string>
#include <utility>

#include "cluster.h"

namespace nos {

void Cluster::hold(PodId id, NodeId node_id) {
    Pod& pod = pods_[id];
    if (pod.phase != Phase::waiting) {
        throw std::invalid_argument("Pod " + std::string{uid(id)} + " does not wait");
    }
    stop_waiting(id);
    pod.held = true;
    held_.insert(id);
    nominate(id, node_id);
    settle_charge(id);
    if (in_transaction_) {
        journal_.push_back({Act::held, id, pod.wish, {}, {}, {}});
    }
    set_wish(id, node_id);
}

bool Cluster::release(PodId id) {
    if (!pods_[id].held) {
        return false;
    }
    const NodeId node = leave(id);
    start_waiting(id);
    if (in_transaction_) {
        journal_.push_back({Act::released, id, node, {}, {}, {}});
    } else {
        release_if_unused(node);
    }
    return true;
}

void Cluster::set_wish(PodId id, NodeId node) {
    NodeId& wish = pods_[id].wish;
    wishes_ += (node.valid() ? 1U : 0U) - (wish.valid() ? std::size_t{1} : 0U);
    wish = node;
}

void Cluster::drop_wish(PodId id) {
    const NodeId wish = pods_[id].wish;
    set_wish(id, {});
    if (in_transaction_ && wish.valid()) {
        journal_.push_back({Act::wished, id, wish, {}, {}, {}});
    }
}

void Cluster::set_leaving(PodId id, bool leaving) {
    Pod& pod = pods_[id];
    if (pod.leaving == leaving) {
        return;
    }
    pod.leaving = leaving;
    if (leaving) {
        leaving_.insert(id);
    } else {
        leaving_.erase(id);
    }
    settle_charge(id);
    if (in_transaction_) {
        journal_.push_back({leaving ? Act::left : Act::stayed, id, NodeId{}, {}, {}, {}});
    }
}

void Cluster::set_going(NodeId id, bool going) {
    if (std::exchange(nodes_[id].going, going) == going) {
        return;
    }
    touch(id);
    if (in_transaction_) {
        journal_.push_back({going ? Act::closed : Act::opened, PodId{}, id, {}, {}, {}});
    }
}

void Cluster::displace(PodId id) {
    Pod& pod = pods_[id];
    if (!in_transaction_ || pod.phase != Phase::bound) {
        throw std::logic_error("only a bound Pod is displaced, and only in a transaction");
    }
    const NodeId node = pod.node;
    detach(id, true);
    journal_.push_back({Act::displaced, id, node, pod.gpus, pod.instances, {}});
    pod.gpus.clear();
    pod.instances.clear();
    start_waiting(id);
}

void Cluster::put_back(PodId id, NodeId node_id, Slots gpus, Instances instances) {
    if (!in_transaction_ || pods_[id].phase != Phase::waiting) {
        throw std::logic_error("only a Pod that was displaced is put back, and only in a transaction");
    }
    stop_waiting(id);
    attach(id, node_id, Phase::bound, std::move(gpus), std::move(instances), Claiming::known);
    journal_.push_back({Act::put_back, id, NodeId{}, {}, {}, {}});
}

// How important it is, and whether it is movable, among all on nodes.
void Cluster::count_rank(const Pod& pod, bool there) {
    if (pod.movable) {
        movable_ += there ? 1U : ~std::size_t{0};
    }
    const auto entry = priorities_.try_emplace(pod.priority).first;
    entry->second += there ? 1U : ~0U;
    if (entry->second == 0) {
        priorities_.erase(entry);
    }
}

// ---- budgets

void Cluster::upsert_budget(std::string_view name, const PodSelector& selector, std::int64_t allowed) {
    refuse_in_transaction();
    const SelectorId id = selection_.intern(selector, false);
    const auto [entry, is_new] = budgets_.try_emplace(std::string{name}, Budget{id, allowed});
    if (!is_new) {
        selection_.release(entry->second.selector, false);
        entry->second = {id, allowed};
    }
}

bool Cluster::remove_budget(std::string_view name) {
    refuse_in_transaction();
    const auto found = budgets_.find(name);
    if (found == budgets_.end()) {
        return false;
    }
    selection_.release(found->second.selector, false);
    budgets_.erase(found);
    return true;
}

// ---- questions

Visit::Visit(Cluster& cluster, NodeId node, std::int32_t priority, bool is_noticed)
    : cluster_{cluster}, node_{node}, is_noticed_{is_noticed} {
    std::ranges::copy_if(cluster.nodes_[node].nominated, std::back_inserter(visitors_), [&](PodId id) {
        return cluster.pods_[id].held || cluster.pods_[id].priority >= priority;
    });
    for (const PodId id : visitors_) {
        if (is_noticed) {
            cluster.attach(id, node, Phase::nominated, {}, {}, Cluster::Claiming::all);
        } else if (Node& there = cluster.nodes_[node]; there.present()) {
            cluster.enter(there, id, Cluster::Claiming::all);
        }
    }
}

Visit::~Visit() {
    for (const PodId id : visitors_) {
        if (is_noticed_) {
            cluster_.detach(id);
        } else if (Node& there = cluster_.nodes_[node_]; there.present()) {
            cluster_.uncount(there, id);
        }
        cluster_.pods_[id].gpus.clear();
        cluster_.pods_[id].instances.clear();
    }
}

Absence::Absence(Cluster& cluster, NodeId node, bool is_noticed)
    : cluster_{cluster}, node_{node}, is_noticed_{is_noticed} {}

Absence::~Absence() {
    while (!absent_.empty()) {
        put_back(absent_.back());
    }
    Node& node = cluster_.nodes_[node_];
    for (const Held& held : strangers_) {
        cluster_.claim(node, PodId{}, held);
    }
    for (const std::uint16_t slot : withheld_) {
        cluster_.leave_slot(node, slot);
    }
}

bool Absence::take_strangers() {
    Node& node = cluster_.nodes_[node_];
    for (std::uint16_t slot = 0; slot < node.cuts.size(); ++slot) {
        const GpuSpec& gpu = node.spec->gpus[slot];
        for (const Claim& claim : node.cuts[slot].claims) {
            if (!claim.pod.valid()) {
                strangers_.push_back({slot, claim.placement});
            }
        }
        if (node.cuts[slot].withheld && !gpu.pod.empty() && gpu.can_be_whole()) {
            withheld_.push_back(slot);
        }
    }
    for (const Held& held : strangers_) {
        cluster_.unclaim(node, PodId{}, held, true);
    }
    for (const std::uint16_t slot : withheld_) {
        node.cuts[slot].withheld = false;
        cluster_.set_slot(node, slot, whole_gpu);
    }
    return !strangers_.empty() || !withheld_.empty();
}

void Absence::take(PodId id) {
    if (is_noticed_) {
        cluster_.detach(id, true);
    } else {
        cluster_.uncount(cluster_.nodes_[node_], id, true);
        cluster_.uncharge(id);
    }
    absent_.push_back(id);
}

void Absence::put_back(PodId id) {
    std::erase(absent_, id);
    const Pod& pod = cluster_.pods_[id];
    if (is_noticed_) {
        cluster_.attach(id, node_, pod.phase, pod.gpus, pod.instances, Cluster::Claiming::known);
    } else {
        cluster_.enter(cluster_.nodes_[node_], id, Cluster::Claiming::known);
        cluster_.settle_charge(id);
    }
}

}  // namespace nos
