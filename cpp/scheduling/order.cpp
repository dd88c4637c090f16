#include "order.h"

#include <algorithm>
#include <iterator>
#include <span>

namespace nos {

namespace {

void sort(const Cluster& cluster, std::span<PodId> pods) {
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
}

}  // namespace

std::vector<PodId> order(const Cluster& cluster) {
    std::vector<PodId> pods{cluster.waiting().begin(), cluster.waiting().end()};
    sort(cluster, pods);
    return pods;
}

std::vector<PodId> order(const Cluster& cluster, const Gang& gang) {
    std::vector<PodId> pods;
    std::ranges::copy_if(gang.members, std::back_inserter(pods),
                         [&](PodId id) { return cluster.pod(id).phase == Phase::waiting; });
    sort(cluster, pods);
    return pods;
}

}  // namespace nos
