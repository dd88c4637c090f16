#include "first_fit.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <tuple>

#include "pod_size.h"
#include "transaction.h"

namespace nos {

namespace {

constexpr std::int64_t fits_within = 1'000'000;
constexpr std::int64_t most_candidates = 2'000;  // nodes for one gang

class FirstFit {
  public:
    FirstFit(Cluster& cluster, Scheduler& scheduler, Purchase& purchase)
        : cluster_{cluster}, scheduler_{scheduler}, purchase_{purchase} {}

    void run(std::vector<PodId> pods) {
        sort(pods);
        std::set<GangId> gangs;
        for (const PodId id : pods) {
            const GangId gang = cluster_.pod(id).gang;
            if (gang.valid() && gangs.insert(gang).second && !cluster_.gang(gang).is_satisfied()) {
                place_gang(gang);
            }
            if (cluster_.pod(id).phase == Phase::waiting &&
                (!gang.valid() || cluster_.gang(gang).is_satisfied())) {
                place(id);
            }
        }
    }

  private:
    using Like = std::pair<SpecId, KinId>;

    [[nodiscard]] const PodSpec& spec(PodId id) const { return *cluster_.spec(cluster_.pod(id).spec).spec; }

    void sort(std::vector<PodId>& pods) const {
        std::map<SpecId, std::array<std::int64_t, 3>> sizes;
        std::map<GangId, std::array<std::int64_t, 3>> of_gangs;
        for (const PodId id : pods) {
            const Pod& pod = cluster_.pod(id);
            if (!sizes.contains(pod.spec)) {
                sizes[pod.spec] = pod_size(spec(id), purchase_.groups());
            }
            if (pod.gang.valid()) {
                of_gangs[pod.gang] = std::max(of_gangs[pod.gang], sizes[pod.spec]);
            }
        }
        const auto key = [&](PodId id) {
            const Pod& pod = cluster_.pod(id);
            return std::tuple{pod.priority, pod.gang.valid() ? of_gangs[pod.gang] : sizes[pod.spec]};
        };
        std::ranges::sort(pods, [&](PodId a, PodId b) {
            const Pod& left = cluster_.pod(a);
            const Pod& right = cluster_.pod(b);
            const auto of_left = key(a);
            const auto of_right = key(b);
            return of_left != of_right ? of_left > of_right
                                       : std::tuple{left.spec, left.arrival, cluster_.uid(a)} <
                                             std::tuple{right.spec, right.arrival, cluster_.uid(b)};
        });
    }

    // Groups on whose nodes it may fit, the cheapest for it first.
    const std::vector<std::size_t>& choices(PodId id) {
        const SpecId spec_id = cluster_.pod(id).spec;
        const auto known = choices_.find(spec_id);
        if (known != choices_.end()) {
            return known->second;
        }
        std::vector<std::tuple<std::int64_t, std::int64_t, std::size_t>> ranked;
        for (std::size_t group = 0; group < purchase_.groups().size(); ++group) {
            const NodeGroup& one = purchase_.groups()[group];
            const std::int64_t part = largest_part(spec(id), *one.node);
            if (part <= fits_within) {
                ranked.emplace_back(one.price * part, one.price, group);
            }
        }
        std::ranges::sort(ranked);
        std::vector<std::size_t>& groups = choices_[spec_id];
        for (const auto& [cost, price, group] : ranked) {
            groups.push_back(group);
        }
        return groups;
    }

    void place(PodId id) {
        const bool is_plain = depends_on_room_alone(id);
        const Like like{cluster_.pod(id).spec, cluster_.selection().kin(cluster_.pod(id).labels)};
        if ((is_plain ? fits_on_new(id) : scheduler_.place(id).has_value()) ||
            (is_plain && in_vain_.contains(like))) {
            return;
        }
        bool quota_bars = false;
        for (const std::size_t group : choices(id)) {
            if (purchase_.left(group) == 0) {
                continue;
            }
            const NodeId node = purchase_.open(cluster_, group);
            if (is_plain ? fits_on(id, node) : scheduler_.place(id).has_value()) {
                if (cluster_.pod(id).node != node) {
                    purchase_.close(cluster_, node);
                }
                return;
            }
            quota_bars = quota_bars || refusal(cluster_, id, node);
            purchase_.close(cluster_, node);
        }
        if (is_plain && !quota_bars) {
            in_vain_.insert(like);
        }
    }

    // ---- who fits wherever there is room: no node that was there has any for them, and the new ones only
    // fill

    [[nodiscard]] bool depends_on_room_alone(PodId id) const {
        const PodSpec& asked = spec(id);
        return !looks_at_others(id) && !cluster_.pod(id).gang.valid() && asked.host_ports.empty() &&
               asked.claims.empty() && asked.sole_claims.empty() && asked.volumes.empty();
    }

    bool fits_on_new(PodId id) {
        std::size_t& next = next_[cluster_.pod(id).spec];
        for (; next < purchase_.nodes().size(); ++next) {
            const NodeId node = purchase_.nodes()[next].node;
            if (fits_on(id, node)) {
                return true;
            }
            if (refusal(cluster_, id, node)) {
                return false;  // it is not the room: another one may be let in there
            }
        }
        return false;
    }

    bool fits_on(PodId id, NodeId id_of_node) {
        const Node& node = cluster_.node(id_of_node);
        const InternedSpec& interned = cluster_.spec(cluster_.pod(id).spec);
        if (!match_room(cluster_, interned, node).fits() ||
            !match_spec(cluster_, *interned.spec, id_of_node).fits() || refusal(cluster_, id, id_of_node)) {
            return false;
        }
        Places places = find_places(*interned.spec, node, {}).value();
        if (const std::int32_t share = interned.spec->gpu_share_milli; share > 0) {
            const auto* const slot =
                std::ranges::find_if(node.gpu_free, [&](std::uint16_t free) { return free >= share; });
            places.gpus = {static_cast<std::uint16_t>(slot - node.gpu_free.begin())};
        }
        cluster_.assume(id, id_of_node, std::move(places.gpus), std::move(places.instances), {});
        return true;
    }

    [[nodiscard]] bool looks_at_others(PodId id) const {
        const Pod& pod = cluster_.pod(id);
        const InternedSpec& interned = cluster_.spec(pod.spec);
        return !interned.terms.empty() ||
               cluster_.selection().is_near_by(cluster_.selection().kin(pod.labels));
    }

    // ---- gangs

    // With a topology key that its Pods have to share in each domain alone.
    void place_gang(GangId id) {
        const std::optional<GangSpec> gang = cluster_.gang(id).spec;
        if (try_gang(id) || !gang) {
            return;
        }
        std::vector<std::vector<std::size_t>> allowed;
        if (!gang->required) {
            allowed.emplace_back(purchase_.groups().size());
            std::iota(allowed.front().begin(), allowed.front().end(), std::size_t{0});
        } else {
            std::map<std::string, std::vector<std::size_t>, std::less<>> by_domain;
            for (std::size_t group = 0; group < purchase_.groups().size(); ++group) {
                const NodeGroup& one = purchase_.groups()[group];
                if (const auto value = find_label(one.node->labels, gang->topology_key)) {
                    by_domain[std::string{*value}].push_back(group);
                } else if (gang->topology_key == hostname_label) {
                    allowed.push_back({group});
                }
            }
            for (auto& [value, groups] : by_domain) {
                allowed.push_back(std::move(groups));
            }
            std::ranges::stable_sort(allowed, {}, [&](const auto& groups) { return estimate(id, groups); });
        }
        const bool one_node = gang->required && gang->topology_key == hostname_label;
        for (const auto& groups : allowed) {
            for (const bool generous : {false, true}) {
                open_for(id, groups, generous, one_node);
                const bool fits = try_gang(id);
                purchase_.close_empty(cluster_);
                if (fits) {
                    return;
                }
            }
        }
    }

    [[nodiscard]] std::map<SpecId, std::pair<PodId, std::int64_t>> wanted(GangId id) const {
        std::map<SpecId, std::pair<PodId, std::int64_t>> wanted;
        for (const PodId member : cluster_.gang(id).members) {
            if (cluster_.pod(member).phase == Phase::waiting) {
                ++wanted.try_emplace(cluster_.pod(member).spec, member, 0).first->second.second;
            }
        }
        return wanted;
    }

    // What its Pods would cost there if every node were filled.
    std::int64_t estimate(GangId id, const std::vector<std::size_t>& groups) {
        std::int64_t cost = 0;
        for (const auto& [spec_id, like] : wanted(id)) {
            std::int64_t least = highest_price;
            for (const std::size_t group : groups) {
                const NodeGroup& one = purchase_.groups()[group];
                if (const std::int64_t most = most_on(spec(like.first), *one.node); most > 0) {
                    least = std::min(least, one.price / most);
                }
            }
            cost += least * like.second;
        }
        return cost;
    }

    // Nodes that should be enough, each kind of Pod by itself; generous: one for each Pod.
    void open_for(GangId id, const std::vector<std::size_t>& groups, bool generous, bool one_node) {
        std::int64_t opened = 0;
        for (const auto& [spec_id, like] : wanted(id)) {
            std::int64_t rest = like.second;
            for (const std::size_t group : choices(like.first)) {
                if (std::ranges::find(groups, group) == groups.end()) {
                    continue;
                }
                const std::int64_t most =
                    generous ? 1
                             : std::max<std::int64_t>(
                                   1, most_on(spec(like.first), *purchase_.groups()[group].node));
                while (rest > 0 && purchase_.left(group) > 0 && opened < (one_node ? 1 : most_candidates)) {
                    purchase_.open(cluster_, group);
                    ++opened;
                    rest -= most;
                }
            }
        }
    }

    bool try_gang(GangId id) {
        Transaction transaction{cluster_};
        const GangTurn turn = scheduler_.place_gang(
            id, [&](PodId one, const Domain* domain) { return scheduler_.place_in(one, domain).has_value(); },
            Room::free);
        if (turn.placed.empty()) {
            return false;
        }
        transaction.commit();
        return true;
    }

    Cluster& cluster_;
    Scheduler& scheduler_;
    Purchase& purchase_;
    std::map<SpecId, std::vector<std::size_t>> choices_;
    std::map<SpecId, std::size_t> next_;  // the first of the new nodes that may have room for such a Pod
    std::set<Like> in_vain_;              // whom no new node can help
};

}  // namespace

void first_fit(Cluster& cluster, Scheduler& scheduler, Purchase& purchase, std::vector<PodId> pods) {
    FirstFit{cluster, scheduler, purchase}.run(std::move(pods));
}

}  // namespace nos
