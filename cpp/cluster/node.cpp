#include "node.h"

#include <algorithm>

namespace nos {

ExtendedUse& use_of(std::vector<ExtendedUse>& uses, ResourceId resource) {
    auto found = std::ranges::lower_bound(uses, resource, {}, &ExtendedUse::resource);
    if (found == uses.end() || found->resource != resource) {
        found = uses.insert(found, ExtendedUse{resource});
    }
    return *found;
}

AttachedVolume& Node::entry_of(VolumeId volume) {
    auto found = std::ranges::lower_bound(volumes, volume, {}, &AttachedVolume::volume);
    if (found == volumes.end() || found->volume != volume) {
        found = volumes.insert(found, AttachedVolume{volume});
    }
    return *found;
}

void Node::use_volume(VolumeId volume) { ++entry_of(volume).pods; }

void Node::leave_volume(VolumeId volume) {
    const auto found = std::ranges::lower_bound(volumes, volume, {}, &AttachedVolume::volume);
    if (--found->pods == 0 && !found->seen) {
        volumes.erase(found);
    }
}

}  // namespace nos
