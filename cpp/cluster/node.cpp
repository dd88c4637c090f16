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

}  // namespace nos
