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

void Node::use_volume(VolumeId volume, bool more) {
    auto found = std::ranges::lower_bound(volumes, volume, {}, &AttachedVolume::volume);
    if (found == volumes.end() || found->volume != volume) {
        found = volumes.insert(found, AttachedVolume{volume});
    }
    found->users += more ? 1U : ~0U;
    if (found->users == 0) {
        volumes.erase(found);
    }
}

}  // namespace nos
