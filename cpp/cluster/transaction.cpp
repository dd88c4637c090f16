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
    rollback_to(0);
    cluster_.in_transaction_ = false;
}

void Transaction::rollback_to(std::size_t mark) {
    cluster_.in_transaction_ = false;  // what undoes is not undone
    while (cluster_.journal_.size() > mark) {
        cluster_.undo(cluster_.journal_.back());
        cluster_.journal_.pop_back();
    }
    cluster_.in_transaction_ = true;
}

}  // namespace nos
