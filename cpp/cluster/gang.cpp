#include "gang.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "cluster.h"

namespace nos {

std::optional<GangId> Cluster::find_gang(std::string_view name) const {
    const auto number = gang_names_.find(name);
    return number ? std::optional{GangId{*number}} : std::nullopt;
}

void Cluster::upsert_gang(std::string_view name, const GangSpec& spec) {
    refuse_in_transaction();
    if (name.empty()) {
        throw std::invalid_argument("a gang needs a name");
    }
    if (spec.min_members < 0) {
        throw std::invalid_argument("min_members: " + std::to_string(spec.min_members) + " is below 0");
    }
    if (spec.required && spec.topology_key.empty()) {
        throw std::invalid_argument("a gang that requires one domain needs a topology key");
    }
    const auto [number, is_new] = gang_names_.intern(name);
    const GangId id{number};
    if (is_new) {
        gangs_.renew(id);
    }
    Gang& gang = gangs_[id];
    const TopologyId before = gang.topology;
    gang.topology = spec.topology_key.empty() ? TopologyId{} : intern_topology(spec.topology_key);
    if (before.valid()) {
        topologies_.release(before);
    }
    gang.spec = spec;
}

bool Cluster::remove_gang(std::string_view name) {
    refuse_in_transaction();
    const auto id = find_gang(name);
    if (!id || !gangs_[*id].spec) {
        return false;
    }
    Gang& gang = gangs_[*id];
    if (gang.topology.valid()) {
        topologies_.release(gang.topology);
    }
    gang.topology = {};
    gang.spec.reset();
    release_if_unused(*id);
    return true;
}

void Cluster::release_if_unused(GangId id) {
    if (!gangs_[id].spec && gangs_[id].members.empty()) {
        gangs_[id] = {};
        gang_names_.release(id.value());
    }
}

void Cluster::set_gang(PodId id, std::string_view name) {
    Pod& pod = pods_[id];
    if (pod.gang.valid() ? gang_names_.text(pod.gang.value()) == name : name.empty()) {
        return;
    }
    leave_gang(id);
    if (name.empty()) {
        return;
    }
    const auto [number, is_new] = gang_names_.intern(name);
    pod.gang = GangId{number};
    if (is_new) {
        gangs_.renew(pod.gang);
    }
    std::vector<PodId>& members = gangs_[pod.gang].members;
    pod.gang_index = static_cast<std::uint32_t>(members.size());
    members.push_back(id);
    count_in_gang(pod, 1);
}

void Cluster::leave_gang(PodId id) {
    Pod& pod = pods_[id];
    if (!pod.gang.valid()) {
        return;
    }
    count_in_gang(pod, -1);
    std::vector<PodId>& members = gangs_[pod.gang].members;
    members[pod.gang_index] = members.back();
    pods_[members[pod.gang_index]].gang_index = pod.gang_index;
    members.pop_back();
    release_if_unused(std::exchange(pod.gang, GangId{}));
}

void Cluster::count_in_gang(const Pod& pod, std::int64_t sign) {
    if (pod.gang.valid() && is_placed(pod)) {
        gangs_[pod.gang].placed += sign;
    }
}

void Cluster::set_terminating(Pod& pod, bool terminating) {
    count_in_gang(pod, -1);
    pod.terminating = terminating;
    count_in_gang(pod, 1);
}

void Cluster::check_gangs() const {
    const auto require = [](bool holds, const std::string& what) {
        if (!holds) {
            throw std::logic_error(what);
        }
    };
    std::vector<std::int64_t> placed(gangs_.size());
    std::vector<std::size_t> members(gangs_.size());
    for (std::size_t number = 0; number < pods_.size(); ++number) {
        const Pod& pod = pods_[PodId{number}];
        if (!pod.gang.valid()) {
            continue;
        }
        const Gang& gang = gangs_[pod.gang];
        require(pod.phase != Phase::absent && pod.gang_index < gang.members.size() &&
                    gang.members[pod.gang_index] == PodId{number},
                "a Pod is not linked back by its gang");
        ++members[pod.gang.value()];
        const bool has_node = pod.phase == Phase::assumed || pod.phase == Phase::bound;
        placed[pod.gang.value()] += has_node && !pod.terminating ? 1 : 0;
    }
    std::size_t known = 0;
    for (std::size_t number = 0; number < gangs_.size(); ++number) {
        const Gang& gang = gangs_[GangId{number}];
        const bool is_known = gang.spec || !gang.members.empty();
        known += is_known ? 1U : 0U;
        require(gang.members.size() == members[number], "members of a gang");
        require(gang.placed == placed[number], "placed members of a gang: kept " +
                                                   std::to_string(gang.placed) + ", counted " +
                                                   std::to_string(placed[number]));
        require(gang.topology.valid() == (gang.spec && !gang.spec->topology_key.empty()) &&
                    (!gang.topology.valid() || topologies_[gang.topology].key() == gang.spec->topology_key),
                "topology of a gang");
        require(!is_known || find_gang(name(GangId{number})) == GangId{number},
                "a gang's name does not lead to it");
    }
    require(gang_names_.size() == known, "gang names");
}

}  // namespace nos
