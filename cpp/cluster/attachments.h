// The volumes that have to be attached to nodes, as numbers.
#pragma once

#include <string>

#include "counted_names.h"
#include "id.h"
#include "names.h"
#include "volume.h"

namespace nos {

using VolumeId = Id<struct VolumeTag>;
using DriverId = Id<struct DriverTag>;

class Attachments {
  public:
    VolumeId intern(const Attachment& attachment) {
        const VolumeId id{names_.intern(attachment.driver + '\n' + attachment.handle)};
        if (id.value() >= drivers_.size()) {
            drivers_.resize(id.value() + std::size_t{1});
        }
        drivers_[id] = driver(attachment.driver);
        return id;
    }
    void release(VolumeId id) { names_.release(id.value()); }

    DriverId driver(std::string_view name) { return DriverId{driver_names_.intern(name).first}; }
    [[nodiscard]] DriverId driver(VolumeId id) const { return drivers_[id]; }
    // By volume.
    [[nodiscard]] const std::vector<std::uint32_t>& users() const { return names_.users(); }

  private:
    CountedNames names_;
    Names driver_names_;  // never released: there are few
    Table<VolumeId, DriverId> drivers_;
};

}  // namespace nos
