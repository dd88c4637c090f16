#include "volume.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <string_view>

namespace nos {

namespace {

const Requirement* values_of(const SelectorTerm& term, std::string_view key) {
    const auto found = std::ranges::find_if(
        term.expressions, [&](const Requirement& r) { return r.op == Operator::in && r.key == key; });
    return found == term.expressions.end() ? nullptr : &*found;
}

// Whether each of its terms names the values that the label may have.
bool is_tied(const Volume& volume, std::string_view key) {
    return volume.affinity && !key.empty() && std::ranges::all_of(*volume.affinity, [&](const auto& term) {
               return values_of(term, key) != nullptr;
           });
}

// The label that the most volumes are tied to.
std::string most_common_key(const std::vector<Volume>& volumes) {
    std::map<std::string_view, std::size_t> ties;
    for (const Volume& volume : volumes) {
        if (!volume.affinity || volume.affinity->empty()) {
            continue;
        }
        for (const Requirement& requirement : volume.affinity->front().expressions) {
            ties[requirement.key] += is_tied(volume, requirement.key) ? 1U : 0U;
        }
    }
    const auto most = std::ranges::max_element(ties, {}, [](const auto& counted) { return counted.second; });
    return most == ties.end() ? std::string{} : std::string{most->first};
}

}  // namespace

VolumeIndex::VolumeIndex(const std::vector<Volume>& volumes) : key_{most_common_key(volumes)} {
    for (std::uint32_t position = 0; position < volumes.size(); ++position) {
        if (!is_tied(volumes[position], key_)) {
            others_.push_back(position);
            continue;
        }
        for (const SelectorTerm& term : *volumes[position].affinity) {
            for (const std::string& value : values_of(term, key_)->values) {
                tied_.emplace_back(value, position);
            }
        }
    }
    std::ranges::sort(tied_);
    const auto repeated = std::ranges::unique(tied_);
    tied_.erase(repeated.begin(), repeated.end());
}

std::vector<std::uint32_t> VolumeIndex::candidates(const Labels& labels) const {
    const auto value = find_label(labels, key_);
    if (!value) {
        return others_;
    }
    const auto tied = std::ranges::equal_range(
        tied_, *value, {}, [](const auto& entry) -> std::string_view { return entry.first; });
    std::vector<std::uint32_t> found;
    found.reserve(tied.size() + others_.size());
    std::ranges::transform(tied, std::back_inserter(found), [](const auto& entry) { return entry.second; });
    std::ranges::copy(others_, std::back_inserter(found));
    std::ranges::inplace_merge(found, found.begin() + static_cast<std::ptrdiff_t>(tied.size()));
    return found;
}

}  // namespace nos
