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
    cluster_.undo_to(0);
    cluster_.in_transaction_ = false;
}

Attempt::Attempt(Cluster& cluster) : cluster_{cluster}, mark_{cluster.journal_.size()} {
    if (!cluster.in_transaction_) {
        throw std::logic_error("an attempt needs an open transaction");
    }
}

Attempt::~Attempt() { undo(); }

void Attempt::undo() {
    if (std::exchange(open_, false)) {
        cluster_.undo_to(mark_);
    }
}

}  // namespace nos
