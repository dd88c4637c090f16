// What Pods say about other Pods: selectors, (anti-)affinity terms and spread constraints.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "selector.h"

namespace nos {

// A Pod's namespace and labels: what selectors see of it.
struct PodLabels {
    std::string namespace_name;
    Labels labels;

    [[nodiscard]] std::size_t hash() const;
    auto operator<=>(const PodLabels&) const = default;
};

// Absent requirements select nobody, an empty list selects everybody.
using Requirements = std::optional<std::vector<Requirement>>;

bool all_match(const Requirements& requirements, const Labels& labels);

// Pods of these namespaces, and of namespaces with labels that match, whose own labels match.
struct PodSelector {
    Requirements labels;
    std::vector<std::string> namespaces;  // sorted
    Requirements namespace_labels;

    [[nodiscard]] bool selects(const PodLabels& pod, const Labels& labels_of_its_namespace) const;
    auto operator<=>(const PodSelector&) const = default;
};

// Pods near by: those on nodes with the same value of the label `topology_key`.
struct PodTerm {
    std::string topology_key;
    PodSelector selector;

    auto operator<=>(const PodTerm&) const = default;
};

struct WeightedPodTerm {
    std::int32_t weight = 0;  // below 0: anti-affinity
    PodTerm term;

    auto operator<=>(const WeightedPodTerm&) const = default;
};

struct SpreadConstraint {
    std::string topology_key;
    PodSelector selector;  // names the Pod's own namespace
    std::int32_t max_skew = 1;
    std::int32_t min_domains = 1;
    bool required = true;        // DoNotSchedule; else ScheduleAnyway
    bool honor_affinity = true;  // only nodes count that the Pod's node affinity allows
    bool honor_taints = false;   // ... whose taints it tolerates

    auto operator<=>(const SpreadConstraint&) const = default;
};

}  // namespace nos
