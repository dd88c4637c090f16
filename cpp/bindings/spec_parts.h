// The spellings that PodSpec and NodeSpec share.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "spec.h"

namespace nos {

using Mapping = std::map<std::string, std::int64_t>;

inline Quantities quantities(const Mapping& amounts) {
    return Quantities{Amounts{amounts.begin(), amounts.end()}};
}
// By resource. Of those that every node has the ones that are not 0.
Mapping amounts(const Quantities& quantities);

using NamedAttachment = std::pair<std::string, std::string>;  // driver, handle

// Sorted, each once.
std::vector<Attachment> attachments(const std::vector<NamedAttachment>& named);
std::vector<NamedAttachment> named(const std::vector<Attachment>& attachments);

// A part of the value behind a handle.
template <auto Part, class Handle>
auto part(const Handle& handle) {
    return (*handle.value).*Part;
}

}  // namespace nos
