#include "nearest_fix.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <utility>

#include "amount_text.h"

namespace nos {

namespace {

// What opens a node that nothing else bars.
constexpr auto single_fixes = std::to_array<std::pair<Verdict::Cause, std::string_view>>({
    {Verdict::affinity, "A wider node affinity/selector opens"},
    {Verdict::volume_affinity, "Volumes that can be used there open"},
    {Verdict::spread_label, "The topology labels that it spreads over open"},
    {Verdict::spread, "A larger maxSkew opens"},
    {Verdict::pod_affinity, "Leaving out its pod affinity opens"},
    {Verdict::pod_anti_affinity, "Leaving out its pod anti-affinity opens"},
    {Verdict::their_anti_affinity, "Moving Pods whose anti-affinity keeps it off opens"},
});

// One quantity that a Pod asks for, against a node.
struct Need {
    std::string_view resource;
    std::int64_t wanted = 0;
    std::int64_t free = 0;
    std::int64_t allocatable = 0;
};

// Visits everything that the Pod asks for, always in the same order.
template <class Visit>
void each_need(const Cluster& cluster, const InternedSpec& interned, const Node& node, Visit visit) {
    const PodSpec& spec = *interned.spec;
    for (std::size_t i = 0; i < basic_count; ++i) {
        if (spec.requests.basic[i] > 0) {
            visit(Need{basic_names[i], spec.requests.basic[i], node.free(static_cast<Basic>(i)),
                       node.spec->allocatable.basic[i]});
        }
    }
    if (spec.requests.gpus > 0) {
        visit(Need{gpu_resource, spec.requests.gpus, free_gpus(node), node.spec->allocatable.gpus});
    }
    if (spec.gpu_share_milli > 0) {
        const auto* const fullest = std::ranges::max_element(node.gpu_free);
        visit(Need{"milli-GPU on one GPU", spec.gpu_share_milli,
                   fullest == node.gpu_free.end() || node.gpu_excess > 0 ? 0 : *fullest,
                   node.gpu_free.empty() ? 0 : whole_gpu});
    }
    for (std::size_t index = 0; index < interned.extended.size(); ++index) {
        const auto& [resource, wanted] = interned.extended[index];
        const auto profile = std::ranges::find(spec.profiles, index, &ProfileRequest::index);
        if (profile != spec.profiles.end() && !node.cuts.empty()) {
            visit(Need{cluster.name(resource), wanted,
                       node.mig_excess > 0 ? 0 : profile_room(*profile, *node.spec, node.cuts),
                       profile_capacity(*profile, *node.spec)});
            continue;
        }
        const auto found = std::ranges::lower_bound(node.extended, resource, {}, &ExtendedUse::resource);
        const bool has = found != node.extended.end() && found->resource == resource;
        visit(Need{cluster.name(resource), wanted, has ? found->allocatable - found->requested : 0,
                   has ? found->allocatable : 0});
    }
}

class Fix {
  public:
    Fix(const Cluster& cluster, const InternedSpec& interned, const Table<NodeId, Verdict>& verdicts)
        : cluster_{cluster}, interned_{interned}, verdicts_{verdicts} {}

    [[nodiscard]] std::string give() const {
        if (auto impossible = never_fits()) {
            return *impossible;
        }
        if (auto closest = closest_node()) {
            return *closest;
        }
        std::map<std::string, std::int64_t> single;  // the one thing that bars a node with room
        each_node([&](NodeId id, Verdict verdict) {
            if (verdict.has(Verdict::unschedulable)) {
                if (verdict.without(Verdict::unschedulable).without(Verdict::taint).fits()) {
                    ++single["Uncordoning opens"];
                }
            } else if (verdict.has(Verdict::taint) && verdict.without(Verdict::taint).fits()) {
                const Taint* taint = untolerated_taint(*interned_.spec, *cluster_.node(id).spec);
                ++single["Tolerating taint {" + taint->key + ": " + taint->value + "} opens"];
            } else {
                for (const auto& [cause, fix] : single_fixes) {
                    if (verdict.has(cause) && verdict.without(cause).fits()) {
                        ++single[std::string{fix}];
                    }
                }
            }
        });
        const auto most =
            std::ranges::max_element(single, {}, [](const auto& entry) { return entry.second; });
        return most == single.end() ? ""
                                    : " " + most->first + " " + std::to_string(most->second) +
                                          (most->second == 1 ? " node with room." : " nodes with room.");
    }

  private:
    template <class Visit>
    void each_node(Visit visit) const {
        for (std::size_t number = 0; number < verdicts_.size(); ++number) {
            const NodeId id{number};
            if (!verdicts_[id].has(Verdict::absent)) {
                visit(id, verdicts_[id]);
            }
        }
    }

    // What is more than any matching node has even when it is empty.
    [[nodiscard]] std::optional<std::string> never_fits() const {
        std::vector<Need> largest;
        each_node([&](NodeId id, Verdict verdict) {
            if (!verdict.only_room()) {
                return;
            }
            std::size_t index = 0;
            each_need(cluster_, interned_, cluster_.node(id), [&](const Need& need) {
                if (index == largest.size()) {
                    largest.push_back(need);
                }
                largest[index].allocatable = std::max(largest[index].allocatable, need.allocatable);
                ++index;
            });
        });
        for (const Need& need : largest) {
            if (need.wanted > need.allocatable) {
                return " No node that it may use is large enough: it asks for " +
                       amount_of(need.resource, need.wanted) + ", the largest has " +
                       amount_text(need.resource, need.allocatable) + ".";
            }
        }
        return std::nullopt;
    }

    // The node whose largest relative lack is smallest, and what it lacks.
    [[nodiscard]] std::optional<std::string> closest_node() const {
        std::optional<NodeId> closest;
        std::int64_t least = 0;
        each_node([&](NodeId id, Verdict verdict) {
            if (!verdict.only_room() || verdict.has(Verdict::pods)) {
                return;
            }
            std::int64_t lack = 0;
            each_need(cluster_, interned_, cluster_.node(id), [&](const Need& need) {
                const std::int64_t missing = std::min(need.wanted - need.free, most_of_anything >> 10);
                lack = std::max(lack, missing * 1000 / need.wanted);
            });
            if (!closest || lack < least) {
                closest = id;
                least = lack;
            }
        });
        if (!closest) {
            return std::nullopt;
        }
        std::string fix = " Closest is node " + std::string{cluster_.name(*closest)} + ", which lacks";
        each_need(cluster_, interned_, cluster_.node(*closest), [&](const Need& need) {
            if (need.wanted > need.free) {
                fix += (fix.ends_with("lacks") ? " " : " and ") +
                       amount_of(need.resource, need.wanted - need.free);
            }
        });
        if (fix.ends_with("lacks")) {
            return std::nullopt;  // the room is there, and kept for another Pod
        }
        return fix + ".";
    }

    const Cluster& cluster_;
    const InternedSpec& interned_;
    const Table<NodeId, Verdict>& verdicts_;
};

}  // namespace

std::string nearest_fix(const Cluster& cluster, const InternedSpec& spec,
                        const Table<NodeId, Verdict>& verdicts) {
    return Fix{cluster, spec, verdicts}.give();
}

}  // namespace nos
