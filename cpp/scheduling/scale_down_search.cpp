#include "scale_down_search.h"

#include <algorithm>
#include <utility>

#include "order.h"
#include "place_gang.h"
#include "transaction.h"

namespace nos {

ScaleDownSearch::ScaleDownSearch(Cluster& cluster, Scheduler& scheduler, const ScaleDownRequest& request,
                                 const std::vector<Candidate>& candidates)
    : cluster_{cluster},
      request_{request},
      candidates_{candidates},
      relocation_{cluster, scheduler, candidates, request.most_steps},
      spare_{request.spare} {}

void ScaleDownSearch::run() {
    empty_in_order();
    empty_the_rest();
    if (choose_anew()) {
        empty_the_rest();
    }
}

std::optional<std::map<PodId, Home>> ScaleDownSearch::places(std::size_t candidate) const {
    if (!removed_.contains(candidate)) {
        return std::nullopt;
    }
    std::map<PodId, Home> all;
    for (const PodId id : candidates_[candidate].movers) {
        const Pod& pod = cluster_.pod(id);
        all[id] = {pod.node, pod.gpus, pod.instances};
    }
    return all;
}

std::string ScaleDownSearch::why_not(std::size_t candidate) const {
    const auto found = why_.find(candidate);
    return found == why_.end() ? "the search was cut short" : found->second;
}

// ---- which

void ScaleDownSearch::empty_in_order() {
    for (std::size_t i = 0; i < candidates_.size(); ++i) {
        set_going(cluster_, candidates_[i].nodes, true);
    }
    const auto tries = static_cast<std::int64_t>(4 * candidates_.size());
    for (std::size_t i = 0; i < candidates_.size(); ++i) {
        const Candidate& candidate = candidates_[i];
        if (!cluster_.node(candidate.nodes.front()).going) {
            continue;  // others were placed there
        }
        closed_.clear();
        for (std::size_t other = i + 1; other < candidates_.size(); ++other) {
            if (cluster_.node(candidates_[other].nodes.front()).going) {
                closed_.push_back(other);
            }
        }
        if (!empty({i}, static_cast<std::int64_t>(candidate.movers.size()) + steps_left() / tries)) {
            set_going(cluster_, candidate.nodes, false);
        }
    }
    closed_.clear();
}

void ScaleDownSearch::empty_the_rest() {
    bool goes_on = true;
    while (goes_on && steps_left() > 0) {
        goes_on = false;
        for (std::size_t i = 0; i < candidates_.size(); ++i) {
            const auto tries = static_cast<std::int64_t>(4 * (candidates_.size() - removed_.size()));
            if (!removed_.contains(i) && steps_left() > 0) {
                const auto least = static_cast<std::int64_t>(to_place({i}).size());
                goes_on = empty({i}, least + steps_left() / tries) || goes_on;
            }
        }
    }
}

// Small numbers of candidates are decided on at once, and that is the optimum as far as the places that were
// tried tell.
bool ScaleDownSearch::choose_anew() {
    if (candidates_.size() <= most_at_once) {
        Set all;
        for (std::size_t i = 0; i < candidates_.size(); ++i) {
            all.push_back(i);
        }
        return choose_among(all);
    }
    bool changes = false;
    for (std::size_t i = 0; i < candidates_.size() && steps_left() > 0; ++i) {
        if (removed_.contains(i)) {
            continue;
        }
        Set window{i};
        for (std::size_t other = i + 1; other < candidates_.size() && window.size() < most_at_once / 2;
             ++other) {
            if (!removed_.contains(other)) {
                window.push_back(other);
            }
        }
        Set removed{removed_.begin(), removed_.end()};
        std::ranges::stable_sort(removed, {}, [&](std::size_t one) { return worth({one}); });
        for (const std::size_t other : removed) {
            if (window.size() < most_at_once) {
                window.push_back(other);
            }
        }
        changes = choose_among(window) || changes;
    }
    return changes;
}

// Whether other ones of these are removed now, who are worth more.
bool ScaleDownSearch::choose_among(const Set& window) {
    Set now;
    std::ranges::copy_if(window, std::back_inserter(now),
                         [&](std::size_t one) { return removed_.contains(one); });
    std::vector<std::pair<std::int64_t, std::uint32_t>> better;
    const auto members = [&](std::uint32_t set) {
        Set chosen;
        for (std::size_t i = 0; i < window.size(); ++i) {
            if ((set >> i & 1U) != 0) {
                chosen.push_back(window[i]);
            }
        }
        return chosen;
    };
    for (std::uint32_t set = 1; set < 1U << window.size(); ++set) {
        if (const std::int64_t value = worth(members(set)); value > worth(now)) {
            better.emplace_back(value, set);
        }
    }
    if (better.empty()) {
        return false;
    }
    std::ranges::stable_sort(better, std::greater{}, &std::pair<std::int64_t, std::uint32_t>::first);
    const auto removed = removed_;
    const auto spare = spare_;
    Attempt attempt{cluster_};
    for (const std::size_t one : now) {
        refill(one);
    }
    for (std::size_t i = 0; i < better.size() && steps_left() > 0; ++i) {
        const auto left = static_cast<std::int64_t>(better.size() - i);
        if (empty(members(better[i].second), std::max<std::int64_t>(steps_left() / (4 * left), 64))) {
            attempt.keep();
            return true;
        }
    }
    removed_ = removed;
    spare_ = spare;
    return false;
}

std::int64_t ScaleDownSearch::worth(const Set& set) const {
    std::int64_t sum = 0;
    for (const std::size_t one : set) {
        sum += candidates_[one].worth(request_.move_price);
    }
    return sum;
}

// ---- one set

bool ScaleDownSearch::empty(const Set& set, std::int64_t steps) {
    const auto fail = [&](const std::string& why) {
        if (set.size() == 1) {
            why_[set.front()] = why;
        }
        return false;
    };
    if (const std::string limit = limit_passed(set); !limit.empty()) {
        return fail("no more nodes of " + limit + " may go");
    }
    const std::vector<PodId> pods = to_place(set);
    if (!keeps_gangs(pods)) {
        return fail("a pod group there has lost as many Pods as it can do without");
    }
    Attempt attempt{cluster_};
    std::vector<NodeId> emptying;
    for (const std::size_t one : set) {
        const std::vector<NodeId>& nodes = candidates_[one].nodes;
        set_going(cluster_, nodes, true);
        emptying.insert(emptying.end(), nodes.begin(), nodes.end());
    }
    for (const PodId id : pods) {
        if (!cluster_.forget(id)) {
            cluster_.displace(id);
        }
    }
    if (!relocation_.place(pods, std::move(emptying), closed_, steps)) {
        return fail(relocation_.why_not());
    }
    attempt.keep();
    for (const std::size_t one : set) {
        removed_.insert(one);
        for (const std::string& limit : candidates_[one].limits) {
            --spare_[limit];
        }
    }
    return true;
}

// Everybody is back, and nothing was removed.
void ScaleDownSearch::refill(std::size_t candidate) {
    for (const PodId id : candidates_[candidate].movers) {
        cluster_.forget(id);
    }
    set_going(cluster_, candidates_[candidate].nodes, false);
    for (const PodId id : candidates_[candidate].movers) {
        const Home& home = relocation_.homes().at(id);
        cluster_.put_back(id, home.node, home.gpus, home.instances);
    }
    removed_.erase(candidate);
    for (const std::string& limit : candidates_[candidate].limits) {
        ++spare_[limit];
    }
}

// Of which more would go than may.
std::string ScaleDownSearch::limit_passed(const Set& set) const {
    std::map<std::string, std::int64_t> wanted;
    for (const std::size_t one : set) {
        for (const std::string& limit : candidates_[one].limits) {
            if (++wanted[limit] > spare_.at(limit)) {
                return limit;
            }
        }
    }
    return {};
}

// Who is on these nodes, and is to be elsewhere.
std::vector<PodId> ScaleDownSearch::to_place(const Set& set) const {
    std::vector<PodId> pods;
    for (const std::size_t one : set) {
        for (const NodeId node : candidates_[one].nodes) {
            std::ranges::copy_if(cluster_.node(node).pods, std::back_inserter(pods),
                                 [&](PodId id) { return relocation_.homes().contains(id); });
        }
    }
    return pods;
}

// Each gang moves as a whole, or goes on without those who move.
bool ScaleDownSearch::keeps_gangs(const std::vector<PodId>& pods) const {
    const auto is_home = [&](PodId id) {
        const auto home = relocation_.homes().find(id);
        return home == relocation_.homes().end() || cluster_.pod(id).node == home->second.node;
    };
    std::map<GangId, std::int64_t> leaving;
    for (const PodId id : pods) {
        if (const GangId gang = cluster_.pod(id).gang; gang.valid()) {
            leaving[gang] += is_home(id) ? 1 : 0;
        }
    }
    return std::ranges::all_of(leaving, [&](const auto& entry) {
        const auto& [id, here] = entry;
        const Gang& gang = cluster_.gang(id);
        const std::int64_t all = gang.placed;
        const auto moved = here + std::ranges::count_if(gang.members, [&](PodId member) {
                               return is_placed(cluster_.pod(member)) && !is_home(member);
                           });
        return moved <= spare_members(cluster_, id) || moved == all;
    });
}

}  // namespace nos
