// What GPUs hold, and what comes of placing one more instance there: worked out once for all that hold the
// same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "states.h"

namespace nos::mig {

// A profile's name, the same on all models.
using KindId = std::uint32_t;
// What a GPU holds: its model, the state that those which stay put it in, and those that may move.
using ContentId = std::uint32_t;

// A placement for one more instance, and a smallest set of movable ones that must leave for it.
struct Option {
    Placement placement;
    std::vector<Placement> leave;  // ascending
    std::vector<KindId> leaving;   // the same, by name
    std::int64_t cost = 0;         // units that leave, then doors closed
    ContentId after = 0;           // with the instance as one that stays
};

class Contents {
  public:
    // The names in ascending order; all that is asked about later must be among them.
    explicit Contents(const std::set<std::string, std::less<>>& names);

    [[nodiscard]] std::size_t kinds() const { return names_.size(); }
    [[nodiscard]] KindId kind(std::string_view name) const;
    [[nodiscard]] const std::string& name(KindId kind) const { return names_[kind]; }
    // Nothing when the instances cannot be together.
    std::optional<ContentId> add(const States& states, std::span<const Placement> fixed,
                                 std::vector<Placement> movable);

    [[nodiscard]] const States& states(ContentId content) const { return *records_[content].states; }
    // Ascending.
    [[nodiscard]] const std::vector<Placement>& movable(ContentId content) const {
        return records_[content].movable;
    }
    [[nodiscard]] std::optional<std::size_t> profile(ContentId content, KindId kind) const;
    // How many of the kind alone fit beside all that is there.
    [[nodiscard]] std::int32_t room(ContentId content, KindId kind) const {
        return records_[content].room[kind];
    }
    // Those with the fewest that leave first, then the cheapest. The reference stays good.
    const std::vector<Option>& options(ContentId content, KindId kind);

  private:
    struct Record {
        const States* states = nullptr;
        StateId fixed = 0;
        StateId all = 0;
        std::vector<Placement> movable;
        std::vector<std::int32_t> room;                                   // by kind
        std::vector<std::unique_ptr<const std::vector<Option>>> options;  // by kind, when asked for
    };

    ContentId intern(const States& states, StateId fixed, StateId all, std::vector<Placement> movable);
    void add_options(ContentId content, Placement placement, StateId with, std::vector<Option>& found);

    std::vector<std::string> names_;
    std::vector<Record> records_;
    std::map<std::tuple<const States*, StateId, std::vector<Placement>>, ContentId> known_;
};

}  // namespace nos::mig
