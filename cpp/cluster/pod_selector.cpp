#include "pod_selector.h"

#include <algorithm>
#include <functional>
#include <string_view>

namespace nos {

std::size_t PodLabels::hash() const {
    std::size_t seed = std::hash<std::string_view>{}(namespace_name);
    for (const auto& [key, value] : labels) {
        for (const std::string* text : {&key, &value}) {
            seed = (seed ^ std::hash<std::string_view>{}(*text)) * 0x9e3779b97f4a7c15ULL;
        }
    }
    return seed;
}

bool all_match(const Requirements& requirements, const Labels& labels) {
    return requirements && std::ranges::all_of(*requirements, [&](const Requirement& requirement) {
               return requirement.matches(find_label(labels, requirement.key));
           });
}

bool PodSelector::selects(const PodLabels& pod, const Labels& labels_of_its_namespace) const {
    return (std::ranges::binary_search(namespaces, pod.namespace_name) ||
            all_match(namespace_labels, labels_of_its_namespace)) &&
           all_match(labels, pod.labels);
}

}  // namespace nos
