#include "place_gang.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "filter.h"
#include "transaction.h"

namespace nos {

namespace {

// Who was displaced to make way for another member, at most, in one attempt.
constexpr int most_displaced = 200;

std::string text(std::int64_t number) { return std::to_string(number); }

class Placer {
  public:
    Placer(Cluster& cluster, GangId id, const std::vector<PodId>& members, const PlaceOne& place_one,
           const WhyNot& why_not, Room room)
        : cluster_{cluster},
          id_{id},
          gang_{cluster.gang(id)},
          members_{members},
          place_one_{place_one},
          why_not_{why_not},
          room_{room} {}

    GangTurn turn() {
        if (!gang_.spec) {
            return nobody({ReasonCode::gang_too_small, "Pod group " + called() + " is not known.", {}});
        }
        if (!gang_.spec->problem.empty()) {
            return nobody(
                {ReasonCode::gang_invalid, "Pod group " + called() + " " + gang_.spec->problem + ".", {}});
        }
        const std::int64_t there = gang_.placed + static_cast<std::int64_t>(members_.size());
        if (there < gang_.spec->min_members) {
            return nobody({ReasonCode::gang_too_small,
                           "Pod group " + called() + " has " + text(there) + " of the " +
                               text(gang_.spec->min_members) + " members that it needs.",
                           {}});
        }
        before_ = gang_.placed;
        lacking_ = std::max<std::int64_t>(0, gang_.spec->min_members - before_);
        if (gang_.topology.valid() ? place_in_one_domain() : place_in(nullptr, false)) {
            return std::move(turn_);
        }
        if (lacking_ > 0 || (gang_.spec->required && !home_)) {
            return nobody(does_not_fit());
        }
        GangTurn turn;
        for (const PodId id : members_) {
            turn.left.push_back({id, why_not_alone(id)});
        }
        return turn;
    }

  private:
    [[nodiscard]] std::string called() const { return std::string{cluster_.name(id_)}; }
    [[nodiscard]] const PodSpec& spec(PodId id) const { return *cluster_.spec(cluster_.pod(id).spec).spec; }

    [[nodiscard]] GangTurn nobody(Reason reason) const {
        const auto shared = std::make_shared<Reason>(std::move(reason));
        GangTurn turn;
        for (const PodId id : members_) {
            turn.left.push_back({id, shared});
        }
        return turn;
    }

    // ---- where

    bool place_in_one_domain() {
        std::vector<Domain> all = domains(cluster_, gang_.topology);
        if (const auto id = home(cluster_, gang_)) {
            home_ = *std::ranges::find(all, *id, &Domain::id);
            return place_in(&*home_, !gang_.spec->required);
        }
        const std::vector<const Domain*> candidates = worth_trying(all);
        for (const Domain* domain : candidates) {
            if (place_in(domain, false)) {
                if (!gang_.spec->required) {
                    join_elsewhere();
                }
                return true;
            }
        }
        return !gang_.spec->required && place_in(all.empty() ? nullptr : roomiest(all), true);
    }

    // Those for whom the preferred domain has no room.
    void join_elsewhere() {
        std::erase_if(turn_.left, [&](const GangTurn::Left& left) {
            const bool joins = place_one_(left.pod, nullptr);
            if (joins) {
                turn_.placed.push_back(left.pod);
            }
            return joins;
        });
    }

    [[nodiscard]] std::int64_t gpus(const Domain& domain) const {
        const DomainGpus gpus = gpus_of(cluster_, domain);
        return room_ == Room::free ? gpus.free : gpus.all;
    }

    [[nodiscard]] const Domain* roomiest(const std::vector<Domain>& all) const {
        return &*std::ranges::max_element(all, {}, [&](const Domain& domain) { return gpus(domain); });
    }

    // Those that hold all members, the fullest first; then those that hold as many as it lacks, the roomiest
    // first; as far as whole GPUs and shares can tell. If there are none the roomiest, so as to know why not.
    [[nodiscard]] std::vector<const Domain*> worth_trying(const std::vector<Domain>& all) const {
        std::vector<std::int64_t> wanted;
        for (const PodId id : members_) {
            wanted.push_back(spec(id).gpu_slots() * spec(id).gpu_slot_milli());
        }
        std::ranges::sort(wanted);
        std::int64_t of_all = 0;
        std::int64_t of_lacking = 0;
        for (std::size_t i = 0; i < wanted.size(); ++i) {
            of_all += wanted[i];
            of_lacking += std::cmp_less(i, lacking_) ? wanted[i] : 0;
        }
        std::vector<std::pair<std::int64_t, const Domain*>> for_all;
        std::vector<std::pair<std::int64_t, const Domain*>> for_lacking;
        for (const Domain& domain : all) {
            const std::int64_t has = gpus(domain);
            if (has >= of_all) {
                for_all.emplace_back(has, &domain);
            } else if (has >= of_lacking) {
                for_lacking.emplace_back(-has, &domain);
            }
        }
        std::vector<const Domain*> ordered;
        for (auto* const group : {&for_all, &for_lacking}) {
            std::ranges::stable_sort(*group, {}, &std::pair<std::int64_t, const Domain*>::first);
            for (const auto& [has, domain] : *group) {
                ordered.push_back(domain);
            }
        }
        if (ordered.empty() && !all.empty()) {
            ordered.push_back(roomiest(all));
        }
        return ordered;
    }

    // ---- in which order

    // elsewhere: those for whom the domain has no room may go to any node.
    bool place_in(const Domain* domain, bool elsewhere) {
        displaces_ = false;
        if (attempt(members_, domain, elsewhere)) {
            return true;
        }
        const auto differs = [&](PodId id) {
            return cluster_.pod(id).spec != cluster_.pod(members_.front()).spec;
        };
        displaces_ = room_ == Room::free;
        return std::ranges::any_of(members_, differs) && attempt(larger_first(domain), domain, elsewhere);
    }

    // What a Pod takes: GPU, then CPU, then memory.
    [[nodiscard]] std::array<std::int64_t, 3> size(PodId id) const {
        const PodSpec& wanted = spec(id);
        std::int64_t gpu = wanted.gpu_slots() * wanted.gpu_slot_milli();
        for (const ProfileRequest& request : wanted.profiles) {
            for (const ModelRoom& room : cluster_.model_rooms()) {
                if (const auto profile = find_profile(*room.model, request)) {
                    const mig::Model& model = room.model->model();
                    gpu += request.count * model.profiles[*profile].size * whole_gpu / model.units;
                    break;
                }
            }
        }
        return {gpu, wanted.requests.basic[static_cast<std::size_t>(Basic::cpu)],
                wanted.requests.basic[static_cast<std::size_t>(Basic::memory)]};
    }

    // Of those of one size who may go to the fewest nodes comes first.
    [[nodiscard]] std::vector<PodId> larger_first(const Domain* domain) const {
        std::map<SpecId, std::int64_t> choices;
        std::map<SpecId, std::array<std::int64_t, 3>> sizes;
        for (const PodId id : members_) {
            const SpecId spec_id = cluster_.pod(id).spec;
            if (sizes.contains(spec_id)) {
                continue;
            }
            sizes[spec_id] = size(id);
            std::int64_t& nodes = choices[spec_id];
            for (std::size_t number = 0; number < cluster_.node_bound(); ++number) {
                const NodeId node{number};
                const bool counts =
                    cluster_.node(node).present() && (domain == nullptr || domain->has(cluster_, node));
                nodes += counts && match_spec(cluster_, spec(id), node).fits() ? 1 : 0;
            }
        }
        std::vector<PodId> order = members_;
        std::ranges::stable_sort(order, [&](PodId a, PodId b) {
            const SpecId left = cluster_.pod(a).spec;
            const SpecId right = cluster_.pod(b).spec;
            return sizes[left] != sizes[right] ? sizes[left] > sizes[right] : choices[left] < choices[right];
        });
        return order;
    }

    // ---- one attempt

    bool attempt(const std::vector<PodId>& order, const Domain* domain, bool elsewhere) {
        Attempt attempt{cluster_};
        GangTurn turn;
        displaced_ = 0;
        std::vector<PodId> todo = order;
        std::vector<PodId> in_vain;
        const auto least = std::max<std::int64_t>(lacking_, 1);
        bool goes_on = true;
        while (goes_on) {
            std::vector<PodId> again;  // Pods that others may draw there
            const std::size_t placed = turn.placed.size();
            for (const PodId id : todo) {
                if (place(id, domain, elsewhere) || makes_way(id, turn.placed, domain, elsewhere)) {
                    turn.placed.push_back(id);
                    continue;
                }
                (looks_at_others(id) ? again : in_vain).push_back(id);
                if (static_cast<std::int64_t>(order.size() - in_vain.size()) < least) {
                    break;
                }
            }
            todo = std::move(again);
            goes_on = turn.placed.size() > placed && !todo.empty() &&
                      static_cast<std::int64_t>(order.size() - in_vain.size()) >= least;
        }
        in_vain.insert(in_vain.end(), todo.begin(), todo.end());
        if (static_cast<std::int64_t>(turn.placed.size()) < least) {
            remember(turn, in_vain, domain, elsewhere);
            return false;
        }
        const Domain* const only = gang_.spec->required ? domain : nullptr;
        for (const PodId id : in_vain) {
            if (only == nullptr && place_one_(id, nullptr)) {  // enough of them are together
                turn.placed.push_back(id);
            } else {
                turn.left.push_back({id, why_not_(id, only)});
            }
        }
        attempt.keep();
        turn_ = std::move(turn);
        return true;
    }

    bool place(PodId id, const Domain* domain, bool elsewhere) {
        return place_one_(id, domain) || (elsewhere && domain != nullptr && place_one_(id, nullptr));
    }

    [[nodiscard]] bool looks_at_others(PodId id) const {
        return !spec(id).pod_affinity.empty() ||
               std::ranges::any_of(spec(id).spread, &SpreadConstraint::required);
    }

    // Where the Pod would fit in the place of another member that fits elsewhere, they change; and so on.
    bool makes_way(PodId id, const std::vector<PodId>& placed, const Domain* domain, bool elsewhere) {
        if (!displaces_) {
            return false;
        }
        std::vector<std::pair<SpecId, NodeId>> tried;  // members of one spec on one node are alike
        for (const PodId other : placed) {
            const std::pair there{cluster_.pod(other).spec, cluster_.pod(other).node};
            if (there.first == cluster_.pod(id).spec || moving_.contains(there.first) ||
                std::ranges::find(tried, there) != tried.end()) {
                continue;
            }
            if (++displaced_ > most_displaced) {
                return false;
            }
            tried.push_back(there);
            Attempt attempt{cluster_};
            cluster_.forget(other);
            moving_.insert(cluster_.pod(id).spec);
            const bool fits = place(id, domain, elsewhere) && (place(other, domain, elsewhere) ||
                                                               makes_way(other, placed, domain, elsewhere));
            moving_.erase(cluster_.pod(id).spec);
            if (fits) {
                attempt.keep();
                return true;
            }
        }
        return false;
    }

    // ---- why not

    // Keeps the reason of the attempt that came farthest, seen from where it ended.
    void remember(const GangTurn& turn, const std::vector<PodId>& in_vain, const Domain* domain,
                  bool elsewhere) {
        const auto fitted = static_cast<std::int64_t>(turn.placed.size());
        if (fitted <= fitted_) {
            return;
        }
        fitted_ = fitted;
        where_ = elsewhere ? nullptr : domain;
        reason_ = *why_not_(in_vain.front(), where_);
        place_ = where_ == nullptr
                     ? ""
                     : " in " + gang_.spec->topology_key + " " +
                           std::string{*cluster_.topology(gang_.topology).value(where_->nodes.front())};
    }

    [[nodiscard]] Reason does_not_fit() const {
        // What no further node would help keeps its code.
        const bool is_elsewhere = reason_.code == ReasonCode::quota_max ||
                                  reason_.code == ReasonCode::quota_exhausted ||
                                  reason_.code == ReasonCode::unsupported;
        Reason reason{is_elsewhere ? reason_.code : ReasonCode::gang_does_not_fit, "", reason_.counts};
        reason.message = text(before_ + std::max<std::int64_t>(fitted_, 0)) + " of " +
                         text(gang_.spec->min_members) + " Pods of pod group " + called() + " fit" + place_ +
                         ". ";
        reason.message +=
            fitted_ < 0 ? "No node has the label " + gang_.spec->topology_key + "." : reason_.message;
        return reason;
    }

    // Of one that would join a gang that runs.
    [[nodiscard]] std::shared_ptr<Reason> why_not_alone(PodId id) const {
        return why_not_(id, home_ && gang_.spec->required ? &*home_ : nullptr);
    }

    Cluster& cluster_;
    GangId id_;
    const Gang& gang_;
    const std::vector<PodId>& members_;
    const PlaceOne& place_one_;
    const WhyNot& why_not_;
    Room room_;

    std::int64_t before_ = 0;  // members that were placed already
    std::int64_t lacking_ = 0;
    std::optional<Domain> home_;
    bool displaces_ = false;
    int displaced_ = 0;
    std::set<SpecId> moving_;  // who looks for another place
    GangTurn turn_;

    std::int64_t fitted_ = -1;  // in the best attempt in vain
    const Domain* where_ = nullptr;
    std::string place_;
    Reason reason_;
};

}  // namespace

GangTurn place_gang(Cluster& cluster, GangId gang, const std::vector<PodId>& members,
                    const PlaceOne& place_one, const WhyNot& why_not, Room room) {
    return Placer{cluster, gang, members, place_one, why_not, room}.turn();
}

}  // namespace nos
