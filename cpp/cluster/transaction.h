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

  private:
    Cluster& cluster_;
    bool open_ = true;
};

}  // namespace nos
