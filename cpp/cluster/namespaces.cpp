#include "namespaces.h"

namespace nos {

NamespaceId Namespaces::intern(std::string_view name) {
    const NamespaceId id{names_.intern(name)};
    if (id.value() >= entries_.size()) {
        entries_.resize(id.value() + std::size_t{1});
    }
    return id;
}

std::optional<NamespaceId> Namespaces::find(std::string_view name) const {
    const auto number = names_.find(name);
    return number ? std::optional{NamespaceId{*number}} : std::nullopt;
}

std::uint32_t Namespaces::enter(NamespaceId id, PodId pod) {
    std::vector<PodId>& pods = entries_[id].pods;
    pods.push_back(pod);
    return static_cast<std::uint32_t>(pods.size() - 1);
}

std::optional<PodId> Namespaces::leave(NamespaceId id, std::uint32_t place) {
    std::vector<PodId>& pods = entries_[id].pods;
    pods[place] = pods.back();
    pods.pop_back();
    return place < pods.size() ? std::optional{pods[place]} : std::nullopt;
}

}  // namespace nos
