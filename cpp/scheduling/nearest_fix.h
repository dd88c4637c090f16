// The smallest thing that would let a Pod run, in one sentence.
#pragma once

#include <string>

#include "cluster.h"
#include "filter.h"

namespace nos {

// For a Pod that fits nowhere: a node that would be large enough, the one that lacks least, or what alone
// bars nodes with room. Begins with a space; empty when nothing is near.
std::string nearest_fix(const Cluster& cluster, const InternedSpec& spec,
                        const Table<NodeId, Verdict>& verdicts);

}  // namespace nos
