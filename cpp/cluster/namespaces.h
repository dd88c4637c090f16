// Which Pods are in which namespace, and which quota it is under.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "counted_names.h"
#include "id.h"
#include "quota.h"

namespace nos {

using NamespaceId = Id<struct NamespaceTag>;

class Namespaces {
  public:
    // Each counts one more user, until that one releases it.
    NamespaceId intern(std::string_view name);
    void release(NamespaceId id) { names_.release(id.value()); }
    [[nodiscard]] std::optional<NamespaceId> find(std::string_view name) const;
    [[nodiscard]] const std::vector<std::uint32_t>& users() const { return names_.users(); }
    [[nodiscard]] std::size_t bound() const { return entries_.size(); }

    [[nodiscard]] QuotaId quota(NamespaceId id) const { return entries_[id].quota; }
    void set_quota(NamespaceId id, QuotaId quota) { entries_[id].quota = quota; }

    [[nodiscard]] std::span<const PodId> pods(NamespaceId id) const { return entries_[id].pods; }
    // Its place there.
    std::uint32_t enter(NamespaceId id, PodId pod);
    // Who has this place now, if anybody.
    std::optional<PodId> leave(NamespaceId id, std::uint32_t place);

  private:
    struct Entry {
        std::vector<PodId> pods;
        QuotaId quota;
    };

    CountedNames names_;
    Table<NamespaceId, Entry> entries_;
};

}  // namespace nos
