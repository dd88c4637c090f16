#include "order.h"

#include <algorithm>

namespace nos {

std::vector<PodId> order(const Cluster& cluster) {
    std::vector<PodId> pods{cluster.waiting().begin(), cluster.waiting().end()};
    std::ranges::sort(pods, [&](PodId a, PodId b) {
        const Pod& left = cluster.pod(a);
        const Pod& right = cluster.pod(b);
        if (left.wish.valid() != right.wish.valid()) {
            return left.wish.valid();
        }
        if (left.priority != right.priority) {
            return left.priority > right.priority;
        }
        if (left.arrival != right.arrival) {
            return left.arrival < right.arrival;
        }
        return cluster.uid(a) < cluster.uid(b);
    });
    return pods;
}

}  // namespace nos
