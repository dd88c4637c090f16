// What a Pod's volumes ask of its node.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
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

// Which of many volumes can be of use on a node, by the value of one label: most are tied to one node or
// zone.
class VolumeIndex {
  public:
    VolumeIndex() = default;
    explicit VolumeIndex(const std::vector<Volume>& volumes);

    // Positions of those that may be of use on a node with these labels, ascending; no other one is.
    [[nodiscard]] std::vector<std::uint32_t> candidates(const Labels& labels) const;

  private:
    std::string key_;
    std::vector<std::pair<std::string, std::uint32_t>> tied_;  // to a value of that label; sorted
    std::vector<std::uint32_t> others_;                        // ascending
};

// A claim whose volume is chosen with the node. The first of the volumes that the node can use, that no
// earlier claim of the Pod takes and no other Pod is it; without one a volume is made, where that is
// possible.
struct VolumeClaim {
    std::vector<Volume> volumes;                                      // best first
    std::optional<std::vector<std::vector<SelectorTerm>>> provision;  // where: an AND of ORs; none: nowhere
    VolumeIndex index;                                                // of the volumes, from which it follows

    auto operator<=>(const VolumeClaim& other) const {
        return std::tie(volumes, provision) <=> std::tie(other.volumes, other.provision);
    }
    bool operator==(const VolumeClaim& other) const {
        return std::tie(volumes, provision) == std::tie(other.volumes, other.provision);
    }
};

// What has to be attached to the node.
struct Attachment {
    std::string driver;
    std::string handle;

    auto operator<=>(const Attachment&) const = default;
};

}  // namespace nos
