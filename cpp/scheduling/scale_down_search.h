// Which of the candidates to remove, and where their Pods go then.
//
// Whoever may go is closed at first: nobody is placed there. In their order each
// candidate is emptied, if its Pods have a place on nodes that are open; where they have none, another
// candidate is opened for them, the last first. Then those that stayed are tried once more, and
// after that all sets of a few candidates that include one of them, against what is removed of these now.
// Pods that one removal brought to a node move on when that node goes: each moves once in the end.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "cluster.h"
#include "relocation.h"
#include "scale_down.h"
#include "scale_down_candidates.h"
#include "scheduler.h"

namespace nos {

class ScaleDownSearch {
  public:
    using Set = std::vector<std::size_t>;  // of candidates

    // All sets of so many are tried.
    static constexpr std::size_t most_at_once = 6;

    // Needs an open Transaction, which is to be rolled back.
    ScaleDownSearch(Cluster& cluster, Scheduler& scheduler, const ScaleDownRequest& request,
                    const std::vector<Candidate>& candidates);

    void run();
    // Removes this set if everybody there, and whom others brought there, has a place elsewhere.
    bool empty(const Set& set, std::int64_t steps);
    [[nodiscard]] std::int64_t steps_left() const { return relocation_.steps_left(); }

    // Where the Pods of that candidate go; nothing when it stays.
    [[nodiscard]] std::optional<std::map<PodId, Home>> places(std::size_t candidate) const;
    // Why that candidate stays.
    [[nodiscard]] std::string why_not(std::size_t candidate) const;

  private:
    void empty_in_order();
    void empty_the_rest();
    bool choose_anew();
    bool choose_among(const Set& window);
    void refill(std::size_t candidate);
    [[nodiscard]] std::string limit_passed(const Set& set) const;
    [[nodiscard]] bool keeps_gangs(const std::vector<PodId>& pods) const;
    [[nodiscard]] std::vector<PodId> to_place(const Set& set) const;
    [[nodiscard]] std::int64_t worth(const Set& set) const;

    Cluster& cluster_;
    const ScaleDownRequest& request_;
    const std::vector<Candidate>& candidates_;
    Relocation relocation_;
    std::set<std::size_t> removed_;
    Set closed_;  // not tried yet
    std::map<std::string, std::int64_t> spare_;
    std::map<std::size_t, std::string> why_;
};

}  // namespace nos
