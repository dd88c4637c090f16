#include "over_quota.h"

#include <algorithm>
#include <utility>

#include "cluster.h"

namespace nos {

namespace {

using Resources = std::vector<QuotaResource>;

// Those that the quota names in min, by name.
Resources named_resources(const Quotas& quotas, QuotaId quota) {
    Resources named;
    for (QuotaResource resource = 0; resource < quotas.resources().size(); ++resource) {
        if (quotas.use(quota, resource).named()) {
            named.push_back(resource);
        }
    }
    std::ranges::sort(named, {}, [&](QuotaResource resource) -> const std::string& {
        return quotas.resources()[resource].name;
    });
    return named;
}

// A Pod, and the resources for which it leans on a quota.
struct Leaning {
    PodId pod;
    std::shared_ptr<const Resources> resources;
};

// The Pods of `quota`, which leans on another for these, and those below it that do, too.
void add_leaning(const Cluster& cluster, QuotaId quota, const std::shared_ptr<const Resources>& resources,
                 std::vector<Leaning>& leaning) {
    for (const std::string& name : cluster.quotas().spec(quota).namespaces) {
        for (const PodId id : cluster.pods_in(name)) {
            if (cluster.pod(id).charged_gb > 0) {
                leaning.push_back({id, resources});
            }
        }
    }
    for (const QuotaId child : cluster.quotas().children(quota)) {
        Resources of_child = *resources;
        std::erase_if(of_child,
                      [&](QuotaResource resource) { return cluster.quotas().use(child, resource).named(); });
        if (!of_child.empty()) {
            add_leaning(cluster, child, std::make_shared<const Resources>(std::move(of_child)), leaning);
        }
    }
}

Charge charge_of(const Cluster& cluster, PodId id) {
    const Pod& pod = cluster.pod(id);
    return cluster.charge_of(cluster.spec(pod.spec), pod.charged_gb);
}

}  // namespace

bool came_before(const Cluster& cluster, QuotaId quota, PodId a, PodId b) {
    const Pod& left = cluster.pod(a);
    const Pod& right = cluster.pod(b);
    if (left.arrival != right.arrival) {
        return left.arrival < right.arrival;
    }
    if (left.priority != right.priority) {
        return left.priority > right.priority;
    }
    if (left.spec != right.spec || left.charged_gb != right.charged_gb) {
        const Charge of_left = charge_of(cluster, a);
        const Charge of_right = charge_of(cluster, b);
        for (const QuotaResource resource : named_resources(cluster.quotas(), quota)) {
            const std::int64_t mine = amount_of(of_left, resource);
            const std::int64_t yours = amount_of(of_right, resource);
            if (mine != yours) {
                return mine < yours;
            }
        }
    }
    return cluster.uid(a) < cluster.uid(b);
}

const std::vector<PodId>& OverQuota::first_over(const Cluster& cluster, QuotaId quota) {
    const Quotas& quotas = cluster.quotas();
    Standing& standing = standings_[quota];
    if (standing.version == quotas.version(quota)) {
        return standing.first_over;
    }
    standing.version = quotas.version(quota);
    standing.first_over.assign(quotas.resources().size(), PodId{});
    std::vector<Leaning> leaning;
    add_leaning(cluster, quota, std::make_shared<const Resources>(named_resources(quotas, quota)), leaning);
    std::ranges::sort(leaning, [&](const Leaning& a, const Leaning& b) {
        return came_before(cluster, quota, a.pod, b.pod);
    });
    std::vector<std::int64_t> total(quotas.resources().size());
    for (const Leaning& entry : leaning) {
        const Charge charge = charge_of(cluster, entry.pod);
        for (const QuotaResource resource : *entry.resources) {
            total[resource] += amount_of(charge, resource);
            PodId& first = standing.first_over[resource];
            if (!first.valid() && total[resource] > quotas.use(quota, resource).slack) {
                first = entry.pod;
            }
        }
    }
    return standing.first_over;
}

std::shared_ptr<const PodSet> OverQuota::of(const Cluster& cluster, QuotaId quota) {
    const Quotas& quotas = cluster.quotas();
    if (standings_.size() < quotas.bound()) {
        standings_.resize(quotas.bound());
    }
    std::vector<std::pair<QuotaId, QuotaResource>> leans_on;
    std::uint64_t version = 0;
    for (QuotaResource resource = 0; resource < quotas.resources().size(); ++resource) {
        if (const QuotaId namer = quotas.namer(quota, resource); namer.valid()) {
            leans_on.emplace_back(namer, resource);
            version = std::max(version, quotas.version(namer));
        }
    }
    Standing& standing = standings_[quota];
    if (standing.over != nullptr && standing.over_version == version) {
        return standing.over;
    }
    auto over = std::make_shared<PodSet>();
    std::vector<std::pair<QuotaId, PodId>> first;
    for (const auto& [namer, resource] : leans_on) {
        if (const PodId pod = first_over(cluster, namer)[resource]; pod.valid()) {
            first.emplace_back(namer, pod);
        }
    }
    for (const std::string& name : quotas.spec(quota).namespaces) {
        for (const PodId id : cluster.pods_in(name)) {
            if (cluster.pod(id).charged_gb > 0 && std::ranges::any_of(first, [&](const auto& entry) {
                    return !came_before(cluster, entry.first, id, entry.second);
                })) {
                over->push_back(id);
            }
        }
    }
    std::ranges::sort(*over);
    standing.over_version = version;
    standing.over = std::move(over);
    return standing.over;
}

}  // namespace nos
