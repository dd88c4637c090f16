// Who is next, as decisions are made.
#pragma once

#include <compare>
#include <cstddef>
#include <map>
#include <optional>
#include <queue>
#include <vector>

#include "cluster.h"

namespace nos {

// How far a quota goes beyond its min, in the resource where that is most.
struct Excess {
    std::int64_t used = 0;
    std::int64_t min = 0;

    // By used / min; whatever is used of nothing is more than that.
    std::strong_ordering operator<=>(const Excess& other) const;
    bool operator==(const Excess& other) const { return (*this <=> other) == 0; }
};

// Hands out Pods one by one, each once its predecessor has been placed or not. First, in the order given:
// those without quota, and those whose quota stays within its min. Then those who borrow: of the quota that
// goes beyond its min the least at that moment, of equal ones that which had less lately, of these in the
// order given. So nobody borrows what another one is about to need for its own. Who has a lower priority does
// not overtake within a quota by asking for less. Those for whom room was made go first. A gang is asked
// about as a whole, and keeps together: a member without quota may have to borrow as the others do.
class Turns {
  public:
    Turns(const Cluster& cluster, std::vector<PodId> pods) : cluster_{cluster}, pods_{std::move(pods)} {}

    std::optional<PodId> next();

  private:
    // From the root down to the quota.
    using Key = std::vector<Excess>;
    struct Queue {
        std::vector<std::size_t> places;  // in pods_
        std::size_t first = 0;
        std::int32_t highest = 0;  // priority among them
    };
    struct Entry {
        Key key;  // that was
        std::int64_t habit = 0;
        std::size_t place = 0;
        QuotaId quota;

        auto operator<=>(const Entry&) const = default;
    };

    [[nodiscard]] bool goes_first(PodId id);
    [[nodiscard]] bool stays_within_min(PodId id) const;
    [[nodiscard]] Key key(QuotaId quota) const;
    void line_up(QuotaId quota);

    const Cluster& cluster_;
    std::vector<PodId> pods_;
    std::size_t at_ = 0;
    std::map<GangId, bool> gangs_;     // those asked about, and whether they go first
    std::map<QuotaId, Queue> queues_;  // under an invalid one, members of gangs that borrow elsewhere
    std::priority_queue<Entry, std::vector<Entry>, std::greater<>> line_;
    QuotaId last_;  // whose Pod is at it
};

}  // namespace nos
