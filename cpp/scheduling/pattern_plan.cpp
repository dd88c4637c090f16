#include "pattern_plan.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <tuple>

#include "cover.h"
#include "gate.h"
#include "neighbours.h"
#include "order.h"

namespace nos {

namespace {

constexpr std::int64_t counted_pods = 200;  // beyond that leaving one is dear enough, but nothing is proven

class Planner {
  public:
    Planner(Cluster& cluster, Scheduler& scheduler, Purchase& purchase)
        : cluster_{cluster}, scheduler_{scheduler}, purchase_{purchase} {}

    PatternPlan run(const std::vector<PodId>& pods, std::int64_t most_steps) {
        sort_out(pods);
        use_what_is_there();
        make_shapes();
        state();
        if (problem_.pods() > 0) {
            const Cover found = cover(problem_, shapes_, step_, most_steps);
            realise(found);
            judge(found);
        } else {
            plan_.proven = true;
        }
        for (const auto& [gang, members] : gangs_) {
            if (!cluster_.gang(gang).is_satisfied()) {
                for (const PodId id : members) {
                    cluster_.forget(id);
                }
            }
        }
        purchase_.close_empty(cluster_);
        return plan_;
    }

  private:
    // Pods that count alike.
    using Class = std::pair<std::size_t, std::int32_t>;  // kind, priority

    [[nodiscard]] const PodSpec& spec(PodId id) const { return *cluster_.spec(cluster_.pod(id).spec).spec; }

    // ---- who is planned for

    [[nodiscard]] bool is_plain(PodId id) const {
        const Pod& pod = cluster_.pod(id);
        const PodSpec& asked = spec(id);
        return asked.host_ports.empty() && asked.claims.empty() && asked.volumes.empty() &&
               asked.sole_claims.empty() &&
               !Neighbours::matter(cluster_, cluster_.spec(pod.spec), cluster_.selection().kin(pod.labels));
    }

    void sort_out(const std::vector<PodId>& pods) {
        plan_.is_whole = true;
        std::set<GangId> mixed;
        for (const PodId id : pods) {
            const GangId gang = cluster_.pod(id).gang;
            if (gang.valid() && (cluster_.gang(gang).topology.valid() || !is_plain(id))) {
                mixed.insert(gang);
            }
            plan_.is_whole = plan_.is_whole && !cluster_.pod(id).quota.valid();
        }
        std::map<GangId, std::size_t> places;  // in gangs_
        for (const PodId id : pods) {
            const GangId gang = cluster_.pod(id).gang;
            if (gang.valid() ? mixed.contains(gang) : !is_plain(id)) {
                plan_.is_whole = false;
                continue;
            }
            list_kind(id);
            if (gang.valid() && !cluster_.gang(gang).is_satisfied()) {
                const auto [place, is_new] = places.try_emplace(gang, gangs_.size());
                if (is_new) {
                    gangs_.emplace_back(gang, std::vector<PodId>{});
                }
                gangs_[place->second].second.push_back(id);
            } else {
                alone_.push_back(id);
            }
        }
    }

    // A gang may have room for some of its Pods already.
    void use_what_is_there() {
        for (auto& [gang, members] : gangs_) {
            for (const PodId id : members) {
                if (cluster_.pod(id).phase == Phase::waiting && scheduler_.place_in(id, nullptr)) {
                    plan_.is_whole = false;
                }
            }
        }
    }

    [[nodiscard]] std::vector<PodId> waiting(const std::vector<PodId>& pods) const {
        std::vector<PodId> left;
        std::ranges::copy_if(pods, std::back_inserter(left),
                             [&](PodId id) { return cluster_.pod(id).phase == Phase::waiting; });
        return left;
    }

    // In the order of the Pods, as their specs' numbers, like those of gangs, depend on who came first: of
    // plans that cost the same one is taken.
    void list_kind(PodId id) {
        if (kinds_.try_emplace(cluster_.pod(id).spec, specs_.size()).second) {
            specs_.push_back(cluster_.pod(id).spec);
        }
    }

    void make_shapes() {
        for (std::size_t group = 0; group < purchase_.groups().size(); ++group) {
            const NodeGroup& one = purchase_.groups()[group];
            if (!NodeShape::is_plain(*one.node)) {
                plan_.is_whole = false;
                continue;
            }
            std::int64_t number = 0;
            const NodeId node = add_node(cluster_, one, number);
            groups_.push_back(group);
            shapes_.emplace_back(cluster_, node, specs_);
            const std::string name{cluster_.name(node)};  // which does not outlive it there
            cluster_.remove_node(name);
        }
    }

    [[nodiscard]] std::size_t kind(PodId id) const { return kinds_.at(cluster_.pod(id).spec); }

    // Whether some group's node would hold it.
    [[nodiscard]] bool may_be_placed(PodId id) const {
        return std::ranges::any_of(shapes_, [&](const NodeShape& shape) { return shape.may_hold(kind(id)); });
    }

    // ---- the problem in numbers

    void state() {
        problem_.kinds = specs_.size();
        std::map<std::int32_t, std::int64_t> priorities;
        const auto count = [&](PodId id) { ++priorities[cluster_.pod(id).priority]; };
        for (const PodId id : alone_) {
            if (may_be_placed(id)) {
                singles_[{kind(id), cluster_.pod(id).priority}].push_back(id);
                count(id);
            }
        }
        for (const auto& [gang, members] : gangs_) {
            const std::vector<PodId> left = waiting(members);
            const std::int64_t lacking =
                std::max<std::int64_t>(0, cluster_.gang(gang).spec->min_members - cluster_.gang(gang).placed);
            std::vector<PodId> placeable;
            std::ranges::copy_if(left, std::back_inserter(placeable),
                                 [&](PodId id) { return may_be_placed(id); });
            const std::int64_t optional = std::ssize(placeable) - lacking;
            if (optional < 0 || placeable.empty()) {
                continue;
            }
            plan_.is_whole = plan_.is_whole && (optional == 0 || are_alike(placeable));
            together_.emplace_back(gang, placeable);
            CoverProblem::Together one{std::vector<std::int64_t>(problem_.kinds),
                                       std::vector<std::int64_t>(problem_.kinds), optional};
            for (const PodId id : placeable) {
                ++one.members[kind(id)];
                count(id);
            }
            problem_.gangs.push_back(std::move(one));
        }
        for (const auto& [one, pods] : singles_) {
            problem_.singles.push_back({one.first, std::ssize(pods), 0});
        }
        set_costs(priorities);
    }

    [[nodiscard]] bool are_alike(const std::vector<PodId>& pods) const {
        return std::ranges::all_of(pods, [&](PodId id) {
            return cluster_.pod(id).spec == cluster_.pod(pods.front()).spec &&
                   cluster_.pod(id).priority == cluster_.pod(pods.front()).priority;
        });
    }

    // One number for what comes first, second and third: so many nodes cost less than the least difference of
    // prices, all nodes less than a Pod that is left, and all Pods of lower priorities less than one of a
    // higher.
    void set_costs(const std::map<std::int32_t, std::int64_t>& priorities) {
        std::map<std::string, std::size_t, std::less<>> limits;
        std::int64_t all_pods = 0;
        for (const auto& [priority, count] : priorities) {
            all_pods += count;
        }
        for (const std::size_t group : groups_) {
            unit_ = std::gcd(unit_, purchase_.groups()[group].price);
            for (const auto& [limit, amount] : purchase_.groups()[group].uses) {
                limits.try_emplace(limit, limits.size());
            }
        }
        per_unit_ = unit_ == 0 ? 0 : 4 * all_pods + 1;
        step_ = unit_ == 0 ? 1 : per_unit_ - all_pods;
        std::int64_t dearest = 1;
        problem_.limits.resize(limits.size());
        for (const auto& [limit, place] : limits) {
            problem_.limits[place] = purchase_.limit_left(limit);
        }
        for (const std::size_t group : groups_) {
            const NodeGroup& one = purchase_.groups()[group];
            CoverProblem::Group stated{1 + (unit_ == 0 ? 0 : one.price / unit_ * per_unit_),
                                       purchase_.left(group), std::vector<std::int64_t>(limits.size())};
            for (const auto& [limit, amount] : one.uses) {
                stated.uses[limits.find(limit)->second] = amount;
            }
            dearest = std::max(dearest, stated.cost);
            problem_.groups.push_back(std::move(stated));
        }
        std::map<std::int32_t, std::int64_t> cost_of;
        std::int64_t cost = dearest * std::min(all_pods, counted_pods) + 1;
        is_strict_ = all_pods <= counted_pods;
        for (const auto& [priority, count] : priorities) {
            cost_of[priority] = cost;
            if (cost < most_of_anything / (std::min(count, counted_pods) + 1)) {
                cost *= std::min(count, counted_pods) + 1;
            } else {
                is_strict_ = false;
            }
        }
        std::size_t index = 0;
        for (const auto& [one, pods] : singles_) {
            problem_.singles[index++].cost = cost_of[one.second];
        }
        for (std::size_t i = 0; i < together_.size(); ++i) {
            for (const PodId id : together_[i].second) {
                std::int64_t& of_kind = problem_.gangs[i].cost[kind(id)];
                const std::int64_t own = cost_of[cluster_.pod(id).priority];
                is_strict_ = is_strict_ && (of_kind == 0 || of_kind == own);
                of_kind = std::max(of_kind, own);
            }
        }
    }

    // ---- what comes of it

    void realise(const Cover& found) {
        std::vector<std::vector<PodId>> pools(problem_.kinds);
        std::size_t index = 0;
        for (const auto& [one, pods] : singles_) {
            const auto served = static_cast<std::size_t>(std::ssize(pods) - found.left_singles[index++]);
            pools[one.first].insert(pools[one.first].end(), pods.begin(),
                                    pods.begin() + static_cast<std::ptrdiff_t>(served));
        }
        for (std::size_t i = 0; i < together_.size(); ++i) {
            std::vector<std::int64_t> served = problem_.gangs[i].members;
            for (std::size_t kind = 0; kind < problem_.kinds; ++kind) {
                served[kind] -= found.left_of_gangs[i][kind];
            }
            for (const PodId id : together_[i].second) {
                if (served[kind(id)]-- > 0) {
                    pools[kind(id)].push_back(id);
                }
            }
        }
        for (std::vector<PodId>& pool : pools) {
            std::ranges::reverse(pool);
        }
        for (const auto& [column, count] : found.nodes) {
            for (std::int64_t i = 0; i < count && purchase_.left(groups_[column.group]) > 0; ++i) {
                fill(column, pools);
            }
        }
        for (const std::vector<PodId>& pool : pools) {
            is_done_ = is_done_ && pool.empty();
        }
    }

    void fill(const CoverColumn& column, std::vector<std::vector<PodId>>& pools) {
        Counts pattern(problem_.kinds);
        std::vector<PodId> pods;
        for (std::size_t kind = 0; kind < problem_.kinds; ++kind) {
            for (; pattern[kind] < column.pattern[kind] && !pools[kind].empty(); ++pattern[kind]) {
                pods.push_back(pools[kind].back());
                pools[kind].pop_back();
            }
        }
        auto contents = shapes_[column.group].gpus(pattern);
        if (pods.empty() || !contents) {
            is_done_ = is_done_ && pods.empty();
            return;
        }
        const NodeId node = purchase_.open(cluster_, groups_[column.group]);
        for (const PodId id : pods) {
            auto [slots, instances] = hand_out(id, node, *contents);
            if (refusal(cluster_, id, node)) {
                is_done_ = false;
                continue;
            }
            cluster_.assume(id, node, std::move(slots), std::move(instances), {});
        }
    }

    // What the pattern has there for such a Pod.
    std::pair<Slots, Instances> hand_out(PodId id, NodeId node, std::vector<GpuContent>& contents) const {
        const PodSpec& pod = spec(id);
        Slots slots;
        Instances instances;
        for (std::size_t slot = 0; slot < contents.size(); ++slot) {
            GpuContent& gpu = contents[slot];
            const auto number = static_cast<std::uint16_t>(slot);
            const bool wants_more = static_cast<std::int64_t>(slots.size()) < pod.gpu_slots();
            if (pod.gpu_share_milli > 0) {
                const auto share = std::ranges::find(gpu.shares, pod.gpu_share_milli);
                if (wants_more && share != gpu.shares.end()) {
                    gpu.shares.erase(share);
                    slots.push_back(number);
                }
            } else if (wants_more && gpu.whole) {
                gpu.whole = false;
                slots.push_back(number);
            }
        }
        if (cluster_.node(node).cuts.empty()) {
            return {std::move(slots), std::move(instances)};
        }
        for (const ProfileRequest& request : pod.profiles) {
            std::int64_t missing = request.count;
            for (std::size_t slot = 0; slot < contents.size() && missing > 0; ++slot) {
                const auto profile = find_profile(*cluster_.node(node).spec->gpus[slot].model, request);
                std::erase_if(contents[slot].instances, [&](mig::Placement placement) {
                    if (missing == 0 || placement.profile != profile) {
                        return false;
                    }
                    instances.push_back({static_cast<std::uint16_t>(slot), placement});
                    --missing;
                    return true;
                });
            }
        }
        return {std::move(slots), std::move(instances)};
    }

    void judge(const Cover& found) {
        std::int64_t left = 0;
        for (std::size_t i = 0; i < problem_.singles.size(); ++i) {
            left += found.left_singles[i] * problem_.singles[i].cost;
        }
        for (std::size_t i = 0; i < problem_.gangs.size(); ++i) {
            for (std::size_t kind = 0; kind < problem_.kinds; ++kind) {
                left += found.left_of_gangs[i][kind] * problem_.gangs[i].cost[kind];
            }
        }
        if (std::ranges::any_of(shapes_, [](const NodeShape& shape) { return shape.packing().gave_up(); })) {
            plan_.is_whole = false;  // there may be a pattern that was not found
        }
        plan_.proven = found.proven && is_done_ && (is_strict_ || left == 0);
        if (unit_ > 0 && plan_.is_whole) {
            const double units =
                (found.bound - static_cast<double>(left + problem_.pods())) / static_cast<double>(per_unit_);
            plan_.bound = std::max<std::int64_t>(0, std::llround(std::ceil(units - 1e-6))) * unit_;
        }
    }

    Cluster& cluster_;
    Scheduler& scheduler_;
    Purchase& purchase_;
    PatternPlan plan_;
    std::vector<PodId> alone_;
    std::vector<std::pair<GangId, std::vector<PodId>>> gangs_;  // in the order of their first Pods
    std::vector<SpecId> specs_;                                 // by kind
    std::map<SpecId, std::size_t> kinds_;
    std::vector<std::size_t> groups_;  // of the shapes
    std::vector<NodeShape> shapes_;
    CoverProblem problem_;
    std::map<Class, std::vector<PodId>> singles_;
    std::vector<std::pair<GangId, std::vector<PodId>>> together_;
    std::int64_t unit_ = 0;      // of prices: all are multiples of it
    std::int64_t per_unit_ = 0;  // in the problem's costs
    std::int64_t step_ = 1;
    bool is_strict_ = true;  // the problem's costs tell what comes first, whatever the numbers
    bool is_done_ = true;    // all that the cover says has come true
};

}  // namespace

PatternPlan plan_by_patterns(Cluster& cluster, Scheduler& scheduler, Purchase& purchase,
                             const std::vector<PodId>& pods, std::int64_t most_steps) {
    return Planner{cluster, scheduler, purchase}.run(pods, most_steps);
}

}  // namespace nos
