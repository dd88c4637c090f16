#include "transaction.h"

#include <stdexcept>
#include <utility>

namespace nos {

Transaction::Transaction(Cluster& cluster) : cluster_{cluster} {
    if (cluster.in_transaction_) {
        throw std::logic_error("a transaction is open on this Cluster");
    }
    cluster.in_transaction_ = true;
}

Transaction::~Transaction() { rollback(); }

void Transaction::commit() {
    if (!std::exchange(open_, false)) {
        return;
    }
    cluster_.in_transaction_ = false;
    for (const Cluster::Undo& undo : cluster_.journal_) {
        if (undo.node.valid()) {
            cluster_.release_if_unused(undo.node);
        }
    }
    cluster_.journal_.clear();
}

void Transaction::rollback() {
    if (!std::exchange(open_, false)) {
        return;
    }
    cluster_.in_transaction_ = false;
    while (!cluster_.journal_.empty()) {
        cluster_.undo(cluster_.journal_.back());
        cluster_.journal_.pop_back();
    }
}

}  // namespace nos
