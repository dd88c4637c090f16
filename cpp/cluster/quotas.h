// The quotas: who is whose parent, what each guarantees and allows, and what is used under it.
//
// Every sum that a question about one quota needs is kept: such a question costs its depth, however many
// quotas there are. Only resources that some quota names are counted.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "id.h"
#include "names.h"
#include "quota.h"

namespace nos {

// A number for each resource that some quota names, ascending from 0.
using QuotaResource = std::uint32_t;

__extension__ using Wide = __int128;  // for sums over quotas, and products of two amounts

class Quotas {
  public:
    static constexpr std::int64_t unnamed = -1;

    // Of one resource under one quota.
    struct Use {
        std::int64_t min = unnamed;    // effective: no less than the sum over its children
        std::int64_t max = unnamed;    // its own
        std::int64_t used = 0;         // by its Pods and its descendants'
        std::int64_t used_itself = 0;  // by its Pods
        std::int64_t slack = 0;        // of its min, what no child is guaranteed

        [[nodiscard]] bool named() const { return min != unnamed; }
        [[nodiscard]] std::int64_t idle() const { return used < min ? min - used : 0; }
        bool operator==(const Use&) const = default;
    };

    // Of one resource, over the siblings that name it in min.
    struct Pool {
        Wide min = 0;
        Wide used = 0;
        Wide idle = 0;

        bool operator==(const Pool&) const = default;
    };

    // What it is that quotas count under a name.
    enum class Kind : std::uint8_t { basic, pods, gpus, gpu_memory, gpu_compute, extended };
    struct Resource {
        std::string name;
        Kind kind = Kind::extended;
        std::size_t basic = 0;
        ResourceId extended;
    };

    [[nodiscard]] bool empty() const { return names_.size() == 0; }
    [[nodiscard]] std::optional<QuotaId> find(std::string_view name) const;
    [[nodiscard]] std::string_view name(QuotaId id) const { return names_.text(id.value()); }
    // Ids are below this; some may be free.
    [[nodiscard]] std::size_t bound() const { return specs_.size(); }
    [[nodiscard]] bool exists(QuotaId id) const { return specs_[id] != nullptr; }
    [[nodiscard]] const QuotaSpec& spec(QuotaId id) const { return *specs_[id]; }
    [[nodiscard]] const std::vector<Resource>& resources() const { return resources_; }
    // Invalid: it is a root.
    [[nodiscard]] QuotaId parent(QuotaId id) const { return parents_[id]; }
    [[nodiscard]] const std::vector<QuotaId>& children(QuotaId id) const { return children_[id]; }
    [[nodiscard]] QuotaId root(QuotaId id) const;
    [[nodiscard]] const Use& use(QuotaId id, QuotaResource resource) const {
        return uses_[id.value() * resources_.size() + resource];
    }
    // Of the children of `parent`; of the roots where that is invalid.
    [[nodiscard]] const Pool& pool(QuotaId parent, QuotaResource resource) const {
        return pools_[pool_number(parent) * resources_.size() + resource];
    }
    // The nearest of the quota and its ancestors that names the resource in min; invalid when none does: then
    // it is not compared.
    [[nodiscard]] QuotaId namer(QuotaId id, QuotaResource resource) const;
    // Of what the siblings do not use of their min, the part that is its own by its min.
    [[nodiscard]] std::int64_t guaranteed(QuotaId id, QuotaResource resource) const;
    // The same, where they do not use so much.
    [[nodiscard]] std::int64_t share(QuotaId id, QuotaResource resource, Wide idle) const;
    // Changes with anything that is counted under the quota or promised by it.
    [[nodiscard]] std::uint64_t version(QuotaId id) const { return versions_[id]; }
    // Changes with any of them.
    [[nodiscard]] std::uint64_t version() const { return last_version_; }

    // What names a resource where Pods ask for it.
    using Resolve = std::function<ResourceId(std::string_view)>;

    struct Upserted {
        QuotaId id;
        bool counts_more = false;  // a resource is named for the first time: all Pods are to be counted anew
    };
    // Throws std::invalid_argument when the parents would form a circle.
    Upserted upsert(std::string_view name, std::shared_ptr<const QuotaSpec> spec, const Resolve& resolve);
    // No Pod may be under it.
    void erase(QuotaId id);
    // Counts a Pod in (1) or out (-1).
    void add(QuotaId id, const Charge& charge, std::int64_t sign);
    // As if there were no Pod.
    void clear_used();
    // How much it has had lately, as far as anybody said; the lower comes first where else nothing decides.
    [[nodiscard]] std::int64_t habit(QuotaId id) const { return habits_[id]; }
    void set_habit(QuotaId id, std::int64_t habit) { habits_[id] = habit; }
    // Something else about its Pods changed: their order.
    void touch(QuotaId id);
    // Those touched since the last call, ascending, and those whose Pods are in or over their guarantee by
    // what is used under a touched one.
    std::vector<QuotaId> take_changed();

    // Settles everything anew; throws std::logic_error where the kept differs.
    void check() const;
    [[nodiscard]] bool same_sums(const Quotas& other) const {
        return uses_ == other.uses_ && pools_ == other.pools_;
    }

  private:
    void require_no_circle(std::string_view name, std::string_view parent) const;
    bool name_resources(const QuotaSpec& spec, const Resolve& resolve);
    void settle();
    void settle_tree();
    [[nodiscard]] std::vector<QuotaId> children_first() const;
    void touch_all_around(QuotaId id);
    void mark(QuotaId id);
    [[nodiscard]] static std::size_t pool_number(QuotaId parent) {
        return parent.valid() ? parent.value() + std::size_t{1} : 0;
    }
    Use& use_of(QuotaId id, QuotaResource resource) {
        return uses_[id.value() * resources_.size() + resource];
    }

    Names names_;
    std::vector<Resource> resources_;
    Table<QuotaId, std::shared_ptr<const QuotaSpec>> specs_;  // null: the id is free
    Table<QuotaId, QuotaId> parents_;
    Table<QuotaId, std::vector<QuotaId>> children_;
    std::vector<Use> uses_;    // by quota and resource
    std::vector<Pool> pools_;  // by parent (none, then each) and resource
    Table<QuotaId, std::uint64_t> versions_;
    Table<QuotaId, std::int64_t> habits_;
    std::uint64_t last_version_ = 0;
    std::vector<QuotaId> changed_;
    Table<QuotaId, std::uint8_t> is_changed_;
};

}  // namespace nos
