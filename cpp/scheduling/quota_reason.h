// Why a Pod's quota keeps it waiting.
#pragma once

#include "cluster.h"
#include "gate.h"
#include "reason.h"

namespace nos {

// What is used and allowed, and the smallest change that would let the Pod in.
Reason explain(const Cluster& cluster, const Refusal& refusal);

}  // namespace nos
