// The ledger's self-check: every sum again, from the Pods and node specs alone.
#include <algorithm>
#include <map>
#include <set>
#include <stdexcept>
#include <string>

#include "cluster.h"

namespace nos {

namespace {

void require(std::int64_t kept, std::int64_t counted, const std::string& what) {
    if (kept != counted) {
        throw std::logic_error(what + ": kept " + std::to_string(kept) + ", counted " +
                               std::to_string(counted));
    }
}

void require(bool holds, const std::string& what) {
    if (!holds) {
        throw std::logic_error(what);
    }
}

struct Counted {
    std::array<std::int64_t, basic_count> requested{};
    std::map<ResourceId, std::int64_t> extended;
    std::vector<HostPort> host_ports;
    std::map<VolumeId, AttachedVolume> volumes;
    std::vector<std::int64_t> gpu_used;
    std::int64_t gpu_excess = 0;
    std::map<std::size_t, std::vector<Claim>> claims;  // by GPU slot
    std::int64_t mig_excess = 0;
};

Counted count_pods(const Cluster& cluster, const Node& node) {
    Counted counted;
    counted.gpu_used.resize(node.gpu_free.size());
    for (const VolumeId volume : node.attached) {
        counted.volumes[volume].seen = true;
    }
    for (const PodId id : node.pods) {
        const Pod& pod = cluster.pod(id);
        const InternedSpec& interned = cluster.spec(pod.spec);
        const PodSpec& spec = *interned.spec;
        for (std::size_t i = 0; i < basic_count; ++i) {
            counted.requested[i] += spec.requests.basic[i];
        }
        for (const auto& [resource, amount] : interned.extended) {
            counted.extended[resource] += amount;
        }
        counted.host_ports.insert(counted.host_ports.end(), spec.host_ports.begin(), spec.host_ports.end());
        for (const VolumeId volume : interned.volumes) {
            ++counted.volumes[volume].pods;
        }
        for (const std::uint16_t slot : pod.gpus) {
            counted.gpu_used.at(slot) += spec.gpu_slot_milli();
        }
        for (const Held& held : pod.instances) {
            counted.claims[held.gpu].push_back({held.placement, id});
        }
        if (!node.cuts.empty()) {
            counted.mig_excess += spec.instances();
            counted.mig_excess -= static_cast<std::int64_t>(pod.instances.size());
        }
        counted.gpu_excess += spec.gpu_slots() - static_cast<std::int64_t>(pod.gpus.size());
    }
    return counted;
}

// Claims lie together on their GPU, which nobody has whole, and take all of it in the other sums.
void check_cuts(const Node& node, Counted& counted, const std::string& name) {
    require(node.cuts.size() == node.spec->gpus.size(), name + ": cuts");
    require(node.mig_excess, counted.mig_excess, name + ": MIG excess");
    for (std::size_t slot = 0; slot < node.cuts.size(); ++slot) {
        const Cut& cut = node.cuts[slot];
        const GpuSpec& gpu = node.spec->gpus[slot];
        const std::string place = name + ": GPU " + std::to_string(slot);
        const auto order = [](const Claim& claim) { return std::pair{claim.placement, claim.pod}; };
        std::vector<Claim> kept{cut.claims.begin(), cut.claims.end()};
        std::vector<Claim>& expected = counted.claims[slot];
        for (const InstanceSpec& instance : gpu.instances) {
            if (!instance.pod.empty() &&
                std::ranges::find(expected, instance.placement, &Claim::placement) == expected.end()) {
                expected.push_back({instance.placement, PodId{}});
            }
        }
        std::ranges::sort(kept, {}, order);
        std::ranges::sort(expected, {}, order);
        require(kept == expected, place + ": claims");
        std::vector<mig::Placement> placements;
        for (const Claim& claim : kept) {
            placements.push_back(claim.placement);
        }
        require(gpu.model == nullptr ? placements.empty() : gpu.model->of(placements) == cut.state,
                place + ": claims that cannot be together");
        for (const InstanceSpec& instance : gpu.instances) {
            require(
                instance.pod.empty() || std::ranges::find(placements, instance.placement) != placements.end(),
                place + ": what a Pod holds is given away");
        }
        require(cut.withheld == (kept.empty() && counted.gpu_used.at(slot) == 0 &&
                                 (!gpu.pod.empty() || !gpu.can_be_whole())),
                place + ": withheld");
        if (cut.withheld) {
            counted.gpu_used.at(slot) = whole_gpu;
        }
        require(cut.closed == (!gpu.can_be_cut() || (kept.empty() && counted.gpu_used.at(slot) > 0)),
                place + ": closed");
        require(kept.empty() || counted.gpu_used.at(slot) == 0, place + ": cut and taken whole");
        if (!kept.empty()) {
            counted.gpu_used.at(slot) = whole_gpu;
        }
    }
}

void check_node(const Cluster& cluster, NodeId id) {
    const Node& node = cluster.node(id);
    const std::string name = "node " + std::string{cluster.name(id)};
    for (std::uint32_t i = 0; i < node.pods.size(); ++i) {
        const Pod& pod = cluster.pod(node.pods[i]);
        require(pod.node == id && pod.index == i,
                name + ": Pod " + std::to_string(i) + " is not linked back");
        require(pod.phase == Phase::assumed || pod.phase == Phase::bound, name + ": holds a Pod that waits");
    }
    for (const PodId nominated : node.nominated) {
        const Pod& pod = cluster.pod(nominated);
        require(pod.phase == Phase::nominated && pod.nominated == id && !pod.node.valid(),
                name + ": a nominated Pod is not linked back");
    }
    if (!node.present()) {
        require(0, static_cast<std::int64_t>(node.gpu_free.size()), name + ": absent, with GPUs");
        return;
    }
    Counted counted = count_pods(cluster, node);
    check_cuts(node, counted, name);
    for (std::size_t i = 0; i < basic_count; ++i) {
        require(node.requested[i], counted.requested[i], name + ": " + std::string{basic_names[i]});
    }
    std::map<ResourceId, std::int64_t> extended;
    for (const ExtendedUse& use : node.extended) {
        if (use.requested != 0) {
            extended[use.resource] = use.requested;
        }
    }
    require(extended == counted.extended, name + ": extended resources");
    auto kept_ports = node.host_ports;
    auto counted_ports = counted.host_ports;
    std::ranges::sort(kept_ports);
    std::ranges::sort(counted_ports);
    require(kept_ports == counted_ports, name + ": host ports");

    std::vector<AttachedVolume> volumes;
    for (auto& [volume, attached] : counted.volumes) {
        attached.volume = volume;
        volumes.push_back(attached);
    }
    require(node.volumes == volumes, name + ": volumes");

    require(static_cast<std::int64_t>(node.gpu_free.size()), node.spec->allocatable.gpus,
            name + ": GPU slots");
    require(node.gpu_excess, counted.gpu_excess, name + ": GPU excess");
    std::int64_t free_milli = 0;
    std::int64_t free_whole = 0;
    for (std::size_t slot = 0; slot < node.gpu_free.size(); ++slot) {
        require(node.gpu_free[slot], whole_gpu - counted.gpu_used[slot],
                name + ": GPU " + std::to_string(slot));
        require(counted.gpu_used[slot] <= whole_gpu,
                name + ": GPU " + std::to_string(slot) + " overcommitted");
        free_milli += node.gpu_free[slot];
        free_whole += node.gpu_free[slot] == whole_gpu ? 1 : 0;
    }
    require(node.gpu_free_milli, free_milli, name + ": free GPU");
    require(node.gpu_free_whole, free_whole, name + ": free whole GPUs");
}

}  // namespace

// Who uses what has a number: Pods their labels, specs what they name, nodes what is attached to them.
void Cluster::check_users() const {
    Selection::Users users;
    for (const Pod& pod : pods_.values()) {
        if (pod.phase != Phase::absent) {
            ++users.labels[pod.labels];
        }
    }
    std::vector<std::uint32_t> topologies(topologies_.users().size());
    for (const Gang& gang : gangs_.values()) {
        if (gang.topology.valid()) {
            ++topologies[gang.topology.value()];
        }
    }
    std::vector<std::uint32_t> claims(claim_names_.users().size());
    std::vector<std::uint32_t> volumes(attachments_.users().size());
    for (const InternedSpec& interned : specs_.values()) {
        for (const Term& term : interned.terms) {
            ++topologies[term.topology.value()];
            ++users.selectors[term.selector];
            if (term.role != Term::Role::spread) {
                ++users.near_by[term.selector];
            }
        }
        for (const ClaimId claim : interned.sole_claims) {
            ++claims[claim.value()];
        }
        for (const VolumeId volume : interned.volumes) {
            ++volumes[volume.value()];
        }
    }
    for (const Node& node : nodes_.values()) {
        for (const VolumeId volume : node.attached) {
            ++volumes[volume.value()];
        }
    }
    for (const auto& [name, budget] : budgets_) {
        ++users.selectors[budget.selector];
    }
    selection_.check(users);
    require(topologies == topologies_.users(), "users of topologies");
    require(claims == claim_names_.users(), "users of claims");
    require(volumes == attachments_.users(), "users of volumes");
}

// What Pods say about others, and who has which claim for itself.
void Cluster::check_relations() const {
    check_users();
    std::vector<std::uint32_t> claims(claim_pods_.size());
    for (const Pod& pod : pods_.values()) {
        if (pod.node.valid()) {
            for (const ClaimId claim : specs_[pod.spec].sole_claims) {
                ++claims[claim.value()];
            }
        }
    }
    require(claims == claim_pods_.values(), "Pods with a claim for themselves");
    std::set<std::string, std::less<>> chosen;
    for (const Pod& pod : pods_.values()) {
        require(pod.volumes.empty() || pod.phase == Phase::assumed, "volumes of a Pod that is not assumed");
        for (const std::string& volume : pod.volumes) {
            require(volume.empty() || chosen.insert(volume).second, "volume " + volume + " chosen twice");
        }
    }
    require(chosen == chosen_, "chosen volumes");
    for (const InternedSpec& interned : specs_.values()) {
        for (const Term& term : interned.terms) {
            const Topology& topology = topologies_[term.topology];
            for (std::size_t number = 0; number < nodes_.size(); ++number) {
                const Node& node = nodes_[NodeId{number}];
                const auto value =
                    node.present() ? find_label(node.spec->labels, topology.key()) : std::nullopt;
                require(topology.value(NodeId{number}) == value, "domain of a node under " + topology.key());
            }
        }
    }
}

void Cluster::check() const {
    check_relations();
    check_quotas();
    check_gangs();
    std::int64_t known = 0;
    std::int64_t present = 0;
    std::int64_t capacity = 0;
    std::int64_t used = 0;
    std::int64_t attached = 0;
    std::map<const mig::States*, ModelRoom> rooms;
    for (std::size_t number = 0; number < nodes_.size(); ++number) {
        const NodeId id{number};
        const Node& node = nodes_[id];
        require(node.known || !in_use(id), "node " + std::to_string(number) + ": in use, but not known");
        require(in_use(id) || !node.known || in_transaction_,  // which may yet bring its Pods back
                "node " + std::to_string(number) + ": known, but not in use");
        if (!node.known) {
            continue;
        }
        ++known;
        require(find_node(name(id)) == id, "a node's name does not lead to it");
        check_node(*this, id);
        attached += static_cast<std::int64_t>(node.pods.size() + node.nominated.size());
        if (node.present()) {
            ++present;
            const auto node_capacity = static_cast<std::int64_t>(node.gpu_free.size()) * whole_gpu;
            capacity += node_capacity;
            used += node_capacity - node.gpu_free_milli;
            for (std::size_t slot = 0; slot < node.cuts.size(); ++slot) {
                if (const Cut& cut = node.cuts[slot]; !cut.closed) {
                    const auto& model = node.spec->gpus[slot].model;
                    ModelRoom& room = rooms[model.get()];
                    room.room.resize(model->model().profiles.size());
                    for (std::size_t profile = 0; profile < room.room.size(); ++profile) {
                        room.room[profile] += model->room(cut.state, profile);
                    }
                    ++room.gpus;
                    room.empty_gpus += cut.claims.empty() ? 1 : 0;
                }
            }
        }
    }
    for (const ModelRoom& kept : model_rooms_) {
        ModelRoom& room = rooms[kept.model.get()];
        room.room.resize(kept.room.size());
        require(kept.room == room.room && kept.gpus == room.gpus && kept.empty_gpus == room.empty_gpus,
                "room on GPUs of model " + kept.model->model().id);
        rooms.erase(kept.model.get());
    }
    require(rooms.empty(), "a GPU model without its room");
    require(static_cast<std::int64_t>(present_nodes_), present, "nodes");
    require(static_cast<std::int64_t>(node_names_.size()), known, "node names");
    require(gpu_capacity_milli_, capacity, "GPU capacity");
    require(gpu_used_milli_, used, "GPU used");

    for (std::uint32_t i = 0; i < waiting_.size(); ++i) {
        const Pod& pod = pods_[waiting_[i]];
        require(pod.phase == Phase::waiting && pod.index == i && !pod.node.valid() && pod.gpus.empty() &&
                    pod.instances.empty(),
                "waiting Pod " + std::string{uid(waiting_[i])} + " is not linked back");
    }
    require(static_cast<std::int64_t>(uids_.size()), attached + static_cast<std::int64_t>(waiting_.size()),
            "Pods");

    std::map<std::int32_t, std::uint32_t> priorities;
    std::int64_t movable = 0;
    std::int64_t wishes = 0;
    for (std::size_t number = 0; number < pods_.size(); ++number) {
        const Pod& pod = pods_[PodId{number}];
        require(pod.held == held_.contains(PodId{number}), "held Pods");
        require(!pod.held || pod.phase == Phase::nominated, "a held Pod that is nowhere");
        require(pod.leaving == leaving_.contains(PodId{number}), "leaving Pods");
        if (pod.node.valid()) {
            ++priorities[pod.priority];
            movable += pod.movable ? 1 : 0;
        }
        wishes += pod.wish.valid() ? 1 : 0;
        require(!pod.wish.valid() || nodes_[pod.wish].known, "a wish for a node that nobody knows");
    }
    require(priorities == priorities_, "priorities");
    require(static_cast<std::int64_t>(movable_), movable, "movable Pods");
    require(static_cast<std::int64_t>(wishes_), wishes, "wishes");

    std::vector<std::uint32_t> pods_of_spec(specs_.size());
    for (const Pod& pod : pods_.values()) {
        if (pod.phase != Phase::absent) {
            ++pods_of_spec[pod.spec.value()];
        }
    }
    std::size_t unused = 0;
    for (std::size_t number = 0; number < specs_.size(); ++number) {
        const InternedSpec& interned = specs_[SpecId{number}];
        require(interned.pods, pods_of_spec[number], "Pods of spec " + std::to_string(number));
        unused += interned.spec != nullptr && interned.pods == 0 ? 1U : 0U;
    }
    require(static_cast<std::int64_t>(unused_specs_), static_cast<std::int64_t>(unused), "unused specs");
    require(journal_.empty() || in_transaction_, "a journal without a transaction");
}

}  // namespace nos
