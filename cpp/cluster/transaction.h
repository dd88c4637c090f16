// Try, look, roll back: the one undo mechanism.
#pragma once

#include "cluster.h"

namespace nos {

// Records every decision on the Cluster (assume, forget, hold, release, set_leaving, set_going); undoes them,
// latest first, unless committed. One at a time per Cluster (std::logic_error), and upserts and removals are
// refused while it is open.
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

// A part of an open Transaction that can be undone alone: everything since, latest first, unless it is kept.
class Attempt {
  public:
    explicit Attempt(Cluster& cluster);
    ~Attempt();
    Attempt(const Attempt&) = delete;
    Attempt& operator=(const Attempt&) = delete;
    Attempt(Attempt&&) = delete;
    Attempt& operator=(Attempt&&) = delete;

    void keep() { open_ = false; }
    void undo();

  private:
    Cluster& cluster_;
    std::size_t mark_;
    bool open_ = true;
};

}  // namespace nos
