// The ledger's self-check, as far as quotas go.
#include <map>
#include <stdexcept>
#include <string>

#include "cluster.h"

namespace nos {

namespace {

void require(bool holds, const std::string& what) {
    if (!holds) {
        throw std::logic_error(what);
    }
}

}  // namespace

void Cluster::check_quotas() const {
    quotas_.check();
    std::vector<std::uint32_t> users(namespaces_.bound());
    std::size_t under_quotas = 0;
    for (std::size_t number = 0; number < quotas_.bound(); ++number) {
        if (const QuotaId quota{number}; quotas_.exists(quota)) {
            for (const std::string& name : quotas_.spec(quota).namespaces) {
                const auto space = namespaces_.find(name);
                require(space && namespaces_.quota(*space) == quota, "quota of namespace " + name);
                ++users[space->value()];
                ++under_quotas;
            }
        }
    }
    for (std::size_t number = 0; number < namespaces_.bound(); ++number) {
        under_quotas -= namespaces_.quota(NamespaceId{number}).valid() ? 1U : 0U;
    }
    require(under_quotas == 0, "namespaces under quotas");
    Quotas anew = quotas_;
    anew.clear_used();
    for (std::size_t number = 0; number < pods_.size(); ++number) {
        const PodId id{number};
        const Pod& pod = pods_[id];
        if (pod.phase == Phase::absent) {
            require(!pod.space.valid(), "a namespace of no Pod");
            continue;
        }
        const std::string name = "Pod " + std::string{uid(id)};
        ++users[pod.space.value()];
        require(namespaces_.find(selection_.labels(pod.labels).namespace_name) == pod.space &&
                    namespaces_.pods(pod.space)[pod.place_in_space] == id,
                name + ": its namespace");
        require(pod.quota == namespaces_.quota(pod.space), name + ": its quota");
        const NodeId on = pod.charged_on();
        require(pod.charged_gb == (on.valid() ? gpu_memory_gb(on) : 0), name + ": its charge");
        if (on.valid() && pod.quota.valid()) {
            anew.add(pod.quota, charge_of(specs_[pod.spec], pod.charged_gb), 1);
        }
    }
    std::map<std::int64_t, std::uint32_t> memories;
    for (std::size_t number = 0; number < nodes_.size(); ++number) {
        if (const NodeId node{number}; nodes_[node].present() && nodes_[node].spec->has_gpus()) {
            ++memories[gpu_memory_gb(node)];
        }
    }
    require(memories == gpu_memories_, "memories of GPUs");
    require(users == namespaces_.users(), "users of namespaces");
    require(anew.same_sums(quotas_), "use of quotas");
}

}  // namespace nos
