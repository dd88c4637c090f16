#include "victims.h"

#include <algorithm>
#include <array>
#include <bit>
#include <iterator>
#include <limits>
#include <map>
#include <tuple>
#include <utility>

#include "transaction.h"

namespace nos {

namespace {

std::int64_t above_lowest(std::int32_t priority) {
    return static_cast<std::int64_t>(priority) - std::numeric_limits<std::int32_t>::min() + 1;
}

bool contains(const std::vector<Victim>& victims, const Victim& victim) {
    return std::ranges::find(victims, victim.pod, &Victim::pod) != victims.end();
}

// Those of the one are back, those of the other away.
void swap(Absence& absence, const std::vector<Victim>& back, const std::vector<Victim>& away) {
    for (const Victim& victim : back) {
        absence.put_back(victim.pod);
    }
    for (const Victim& victim : away) {
        absence.take(victim.pod);
    }
}

}  // namespace

std::string_view name(Cause cause) {
    constexpr std::array<std::string_view, 3> names = {"priority", "reclaim", "repack"};
    return names.at(static_cast<std::size_t>(cause));
}

VictimSearch::VictimSearch(Cluster& cluster, PodId pod, const std::set<PodId>& chosen, bool is_noticed,
                           Fits fits, May may)
    : cluster_{cluster},
      pod_{pod},
      chosen_{chosen},
      is_noticed_{is_noticed},
      fits_{std::move(fits)},
      may_{std::move(may)} {
    for (const auto& [name, budget] : cluster.budgets()) {
        budgets_.push_back(&budget);
        allowances_.push_back(budget.allowed);
    }
    for (const PodId id : budgets_.empty() ? std::set<PodId>{} : cluster.leaving()) {
        if (!cluster.pod(id).terminating) {  // else the budget knows
            spend(allowances_, id);
        }
    }
}

bool VictimSearch::spend(Allowances& allowances, PodId id) {
    if (budgets_.empty()) {
        return true;
    }
    const auto [found, is_new] = budgets_of_.try_emplace(cluster_.selection().kin(cluster_.pod(id).labels));
    for (std::size_t i = 0; is_new && i < budgets_.size(); ++i) {
        if (cluster_.selects(*budgets_[i], id)) {
            found->second.push_back(i);
        }
    }
    bool allowed = true;
    for (const std::size_t budget : found->second) {
        allowed = --allowances[budget] >= 0 && allowed;
    }
    return allowed;
}

const std::optional<VictimSearch::Company>& VictimSearch::company(GangId gang) {
    const auto [found, is_new] = companies_.try_emplace(gang);
    if (!is_new) {
        return found->second;
    }
    const Gang& facts = cluster_.gang(gang);
    Company company{{}, facts.placed - facts.spec->min_members};
    for (const PodId member : facts.members) {
        const Pod& pod = cluster_.pod(member);
        const bool runs = (pod.phase == Phase::assumed || pod.phase == Phase::bound) && !pod.terminating;
        if (runs && pod.leaving) {
            --company.spare;
        } else if (runs) {
            const auto cause = may_(member);
            if (!cause || pod.phase != Phase::bound || pod.is_protected) {
                return found->second;
            }
            company.members.push_back({member, *cause});
        }
    }
    std::ranges::sort(company.members, {}, [&](const Victim& victim) { return cluster_.uid(victim.pod); });
    found->second = std::move(company);
    return found->second;
}

bool VictimSearch::can_go(PodId id) {
    const GangId gang = cluster_.pod(id).gang;
    return !gang.valid() || !cluster_.gang(gang).is_satisfied() || company(gang);
}

std::vector<Victim> VictimSearch::with_gangs(const std::vector<Victim>& victims) {
    std::vector<Victim> all = victims;
    std::map<GangId, std::int64_t> losses;
    for (const Victim& victim : victims) {
        const GangId gang = cluster_.pod(victim.pod).gang;
        if (gang.valid() && cluster_.gang(gang).is_satisfied() &&
            ++losses[gang] == company(gang)->spare + 1) {
            for (const Victim& member : company(gang)->members) {
                if (!contains(victims, member)) {
                    all.push_back(member);
                }
            }
        }
    }
    return all;
}

VictimSearch::Candidates VictimSearch::candidates(NodeId node) {
    Candidates found;
    for (const PodId id : cluster_.node(node).pods) {
        const Pod& pod = cluster_.pod(id);
        if (pod.leaving) {
            found.given.push_back(id);
        } else if (pod.phase == Phase::bound && !pod.is_protected) {
            const auto cause = may_(id);
            const bool is_ours = pod.terminating && cluster_.pod(pod_).wish == node;
            if ((cause && can_go(id)) || is_ours) {
                const bool goes = pod.terminating || chosen_.contains(id);
                (goes ? found.going : found.staying).push_back({id, cause.value_or(Cause::priority)});
            }
        }
    }
    const auto importance = [&](const Victim& victim) {
        const Pod& pod = cluster_.pod(victim.pod);
        const bool alone = !pod.gang.valid() || with_gangs({victim}).size() == 1;
        return std::tuple{-std::int64_t{pod.priority}, alone, pod.arrival, cluster_.uid(victim.pod)};
    };
    std::ranges::sort(found.going, {}, importance);
    std::ranges::sort(found.staying, {}, importance);
    Allowances left = allowances_;
    std::vector<Victim> guarded;
    std::vector<Victim> rest;
    for (std::size_t i = found.staying.size(); i-- > 0;) {  // what budgets allow is for the least important
        const Victim& victim = found.staying[i];
        if (spend(left, victim.pod)) {
            rest.push_back(victim);
        } else if (victim.cause == Cause::priority) {  // a quota takes nothing back against a budget
            guarded.push_back(victim);
        }
    }
    found.staying.assign(guarded.rbegin(), guarded.rend());
    found.staying.insert(found.staying.end(), rest.rbegin(), rest.rend());
    return found;
}

std::optional<Victims> VictimSearch::on(NodeId node, bool thorough) {
    Candidates of_node = candidates(node);
    Absence absence{cluster_, node, is_noticed_};
    // Room that was made for it may be free before its agent has seen that.
    const bool strangers = cluster_.pod(pod_).wish == node && absence.take_strangers();
    if (!strangers && of_node.given.empty() && of_node.going.empty() && of_node.staying.empty()) {
        return std::nullopt;
    }
    for (const PodId id : of_node.given) {
        absence.take(id);
    }
    for (const Victim& victim : of_node.going) {
        absence.take(victim.pod);
    }
    take_all(absence, of_node.staying);
    if (!fits_(node)) {
        return std::nullopt;
    }
    std::vector<Victim> victims = cheapest(absence, node, of_node.staying);
    if (thorough) {
        victims = fewest(absence, node, of_node.staying, std::move(victims));
    }
    Victims result{node, with_gangs(victims), toll(victims)};
    if (is_against_a_budget(result)) {
        return std::nullopt;
    }
    for (const Victim& victim : with_gangs(reprieve(absence, node, of_node.going))) {
        if (!contains(result.pods, victim)) {
            result.pods.push_back(victim);
        }
    }
    return result;
}

// Each eviction leaves a quota with less that can be taken back from it.
void VictimSearch::take_all(Absence& absence, std::vector<Victim>& victims) const {
    std::vector<Victim> taken;
    for (std::size_t i = victims.size(); i-- > 0;) {
        if (may_(victims[i].pod)) {
            absence.take(victims[i].pod);
            taken.push_back(victims[i]);
        }
    }
    victims.assign(taken.rbegin(), taken.rend());
}

std::optional<Victims> VictimSearch::elsewhere(NodeId node, const std::vector<PodId>& pods) {
    const Attempt attempt{cluster_};
    Allowances left = allowances_;
    const auto goes = [&](PodId id) { return cluster_.pod(id).terminating || chosen_.contains(id); };
    std::vector<Victim> taken;
    for (const bool is_free : {true, false}) {
        for (const PodId id : pods) {
            if (!is_free && fits_(node)) {
                break;
            }
            const Pod& pod = cluster_.pod(id);
            const bool can = goes(id) == is_free && pod.phase == Phase::bound && !pod.leaving &&
                             !pod.is_protected && can_go(id);
            const auto cause = can ? may_(id) : std::nullopt;
            if (cause && (is_free || spend(left, id))) {
                cluster_.set_leaving(id, true);
                taken.push_back({id, *cause});
            }
        }
    }
    if (!fits_(node)) {
        return std::nullopt;
    }
    std::vector<Victim> needed;
    for (std::size_t i = taken.size(); i-- > 0;) {
        cluster_.set_leaving(taken[i].pod, false);
        if (!fits_(node)) {
            cluster_.set_leaving(taken[i].pod, true);
            needed.push_back(taken[i]);
        }
    }
    std::vector<Victim> costly;
    std::ranges::copy_if(needed, std::back_inserter(costly),
                         [&](const Victim& victim) { return !goes(victim.pod); });
    Victims result{node, with_gangs(needed), toll(costly)};
    return is_against_a_budget(result) ? std::nullopt : std::optional{std::move(result)};
}

// Only for the sake of priority; whose gang goes along has budgets, too.
bool VictimSearch::is_against_a_budget(const Victims& victims) {
    const bool is_strict = std::ranges::any_of(
        victims.pods, [](const Victim& victim) { return victim.cause != Cause::priority; });
    return is_strict && victims.toll.violations > 0;
}

// In two orders, from all absent to those who have to be.
std::vector<Victim> VictimSearch::cheapest(Absence& absence, NodeId node, std::vector<Victim> staying) {
    std::vector<Victim> found = reprieve(absence, node, staying);
    if (found.empty() || staying.size() == 1) {
        return found;
    }
    for (const Victim& victim : staying) {
        if (!contains(found, victim)) {
            absence.take(victim.pod);
        }
    }
    sort_by_gpu(node, staying);
    std::vector<Victim> other = reprieve(absence, node, staying);
    if (toll(other) < toll(found)) {
        return other;
    }
    swap(absence, other, found);
    return found;
}

std::vector<Victim> VictimSearch::fewest(Absence& absence, NodeId node, const std::vector<Victim>& staying,
                                         std::vector<Victim> found) {
    constexpr std::size_t most_candidates = 12;
    if (found.size() < 2 || staying.size() > most_candidates) {
        return found;
    }
    std::vector<Victim> best = found;
    swap(absence, found, {});
    for (std::uint32_t set = 1; set < 1U << staying.size(); ++set) {
        if (std::cmp_greater_equal(std::popcount(set), found.size())) {
            continue;
        }
        std::vector<Victim> some;
        for (std::size_t i = 0; i < staying.size(); ++i) {
            if ((set >> i & 1U) != 0) {
                some.push_back(staying[i]);
            }
        }
        if (toll(some) < toll(best)) {
            swap(absence, {}, some);
            if (fits_(node)) {
                best = some;
            }
            swap(absence, some, {});
        }
    }
    swap(absence, {}, best);
    return best;
}

std::vector<Victim> VictimSearch::reprieve(Absence& absence, NodeId node, const std::vector<Victim>& order) {
    std::vector<Victim> gone;
    for (const Victim& victim : order) {
        absence.put_back(victim.pod);
        if (!fits_(node)) {
            absence.take(victim.pod);
            gone.push_back(victim);
        }
    }
    return gone;
}

void VictimSearch::sort_by_gpu(NodeId node, std::vector<Victim>& victims) const {
    struct Load {
        std::int64_t staying = 0;  // Pods that cannot be evicted
        std::int64_t highest = 0;
        std::int64_t pods = 0;
    };
    std::map<std::uint16_t, Load> loads;
    const auto slots = [&](PodId id) {
        const Pod& pod = cluster_.pod(id);
        std::set<std::uint16_t> found{pod.gpus.begin(), pod.gpus.end()};
        for (const Held& held : pod.instances) {
            found.insert(held.gpu);
        }
        return found;
    };
    const auto add = [&](PodId id, bool stays) {
        for (const std::uint16_t slot : slots(id)) {
            Load& load = loads[slot];
            load.staying += stays ? 1 : 0;
            load.highest = std::max(load.highest, above_lowest(cluster_.pod(id).priority));
            ++load.pods;
        }
    };
    for (const Victim& victim : victims) {
        add(victim.pod, false);
    }
    for (const PodId id : cluster_.node(node).pods) {
        const bool is_victim = std::ranges::find(victims, id, &Victim::pod) != victims.end();
        if (!is_victim && !cluster_.pod(id).leaving) {
            add(id, true);
        }
    }
    // Who has no GPU frees none; then who is on the GPUs that are dearest to clear.
    const auto key = [&](const Victim& victim) {
        auto dearest = std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t>{1, 0, 0, 0};
        for (const std::uint16_t slot : slots(victim.pod)) {
            const Load& load = loads[slot];
            const auto of_slot = std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t>{
                0, -load.staying, -load.highest, -load.pods};
            dearest = std::get<0>(dearest) == 1 ? of_slot : std::min(dearest, of_slot);
        }
        return std::get<0>(dearest) == 1
                   ? std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t>{-1, 0, 0, 0}
                   : dearest;
    };
    std::ranges::stable_sort(victims, {}, key);
}

Toll VictimSearch::toll(const std::vector<Victim>& victims) {
    Toll sum;
    Allowances left = allowances_;
    std::int64_t oldest = std::numeric_limits<std::int64_t>::max();
    for (const Victim& victim : with_gangs(victims)) {
        const Pod& pod = cluster_.pod(victim.pod);
        sum.violations += spend(left, victim.pod) ? 0 : 1;
        sum.highest = std::max(sum.highest, above_lowest(pod.priority));
        sum.priorities += above_lowest(pod.priority);
        ++sum.pods;
        oldest = std::min(oldest, pod.arrival);
    }
    sum.age = victims.empty() ? 0 : std::numeric_limits<std::int64_t>::max() - oldest;
    return sum;
}

}  // namespace nos
