// Try, look, roll back: the one undo mechanism.
#pragma once

#include "cluster.h"

namespace nos {

// Records every decision on the Cluster (assume, forget, hold, release, set_leaving); undoes them, latest
// first, unless committed. One at a time per Cluster (std::logic_error), and upserts and removals are refused
// while it is open.
class Transaction {
  public:
    explicit Transaction(Cluster& cluster);
    ~Transaction();
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;
    Transaction(Transaction&&) = delete;
    Transaction& operator=(Transaction&&) = delete;

    void commit();
    void rollback();

    // A point to come back to: undo what was decided after it, and stay open.
    [[nodiscard]] std::size_t mark() const { return cluster_.journal_.size(); }
    void rollback_to(std::size_t mark);

  private:
    Cluster& cluster_;
    bool open_ = true;
};

}  // namespace nos
