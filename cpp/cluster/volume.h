// What a Pod's volumes ask of its node.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "selector.h"

namespace nos {

// A volume that exists, and the nodes that it can be used on.
struct Volume {
    std::string name;
    std::optional<std::vector<SelectorTerm>> affinity;  // an OR of terms; none: every node

    auto operator<=>(const Volume&) const = default;
};

// A claim whose volume is chosen with the node. The first of the volumes that the node can use and that no
// earlier claim of the Pod takes is it; without one a volume is made, where that is possible.
struct VolumeClaim {
    std::vector<Volume> volumes;                                      // best first
    std::optional<std::vector<std::vector<SelectorTerm>>> provision;  // where: an AND of ORs; none: nowhere

    auto operator<=>(const VolumeClaim&) const = default;
};

// What has to be attached to the node.
struct Attachment {
    std::string driver;
    std::string handle;

    auto operator<=>(const Attachment&) const = default;
};

}  // namespace nos
