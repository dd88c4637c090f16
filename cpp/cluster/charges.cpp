// Which quota a Pod is under, and what it is charged there.
#include <algorithm>
#include <stdexcept>
#include <string>

#include "cluster.h"

namespace nos {

namespace {

// So that no sum over Pods overflows.
constexpr std::int64_t most_charged = 1LL << 44;

}  // namespace

// ---- quotas

void Cluster::upsert_quota(std::string_view name, std::shared_ptr<const QuotaSpec> spec) {
    refuse_in_transaction();
    if (name.empty()) {
        throw std::invalid_argument("a quota needs a name");
    }
    const auto known = quotas_.find(name);
    if (known && quotas_.spec(*known) == *spec) {
        return;
    }
    for (const std::string& text : spec->namespaces) {
        const auto space = namespaces_.find(text);
        const QuotaId other = space ? namespaces_.quota(*space) : QuotaId{};
        if (other.valid() && other != known) {
            throw std::invalid_argument("namespace " + text + " has quota " +
                                        std::string{quotas_.name(other)});
        }
    }
    const std::vector<std::string> before =
        known ? quotas_.spec(*known).namespaces : std::vector<std::string>{};
    const auto [id, counts_more] = quotas_.upsert(name, std::move(spec), [this](std::string_view resource) {
        return ResourceId{resource_names_.intern(resource).first};
    });
    if (counts_more) {
        count_all_charges();
    }
    const std::vector<std::string>& after = quotas_.spec(id).namespaces;
    for (const std::string& text : after) {
        if (std::ranges::find(before, text) == before.end()) {
            put_under(namespaces_.intern(text), id);
        }
    }
    for (const std::string& text : before) {
        if (std::ranges::find(after, text) == after.end()) {
            const NamespaceId space = namespaces_.find(text).value();
            put_under(space, {});
            namespaces_.release(space);
        }
    }
}

bool Cluster::remove_quota(std::string_view name) {
    refuse_in_transaction();
    const auto id = quotas_.find(name);
    if (!id) {
        return false;
    }
    for (const std::string& text : quotas_.spec(*id).namespaces) {
        const NamespaceId space = namespaces_.find(text).value();
        put_under(space, {});
        namespaces_.release(space);
    }
    quotas_.erase(*id);
    return true;
}

bool Cluster::set_habit(std::string_view name, std::int64_t habit) {
    refuse_in_transaction();
    const auto id = quotas_.find(name);
    if (id) {
        quotas_.set_habit(*id, habit);
    }
    return id.has_value();
}

void Cluster::count_all_charges() {
    quotas_.clear_used();
    for (const Pod& pod : pods_.values()) {
        if (pod.charged_gb > 0 && pod.quota.valid()) {
            quotas_.add(pod.quota, charge_of(specs_[pod.spec], pod.charged_gb), 1);
        }
    }
}

void Cluster::put_under(NamespaceId space, QuotaId quota) {
    namespaces_.set_quota(space, quota);
    for (const PodId id : namespaces_.pods(space)) {
        put_under(pods_[id], quota);
    }
}

void Cluster::put_under(Pod& pod, QuotaId quota) {
    if (pod.quota == quota) {
        return;
    }
    count_charge(pod, -1);
    pod.quota = quota;
    count_charge(pod, 1);
}

// ---- charges

std::int64_t Cluster::gpu_memory_gb(NodeId id) const {
    const Node& node = nodes_[id];
    return node.present() && node.spec->gpu_memory_gb > 0 ? node.spec->gpu_memory_gb : unknown_gpu_memory_gb;
}

void Cluster::count_gpu_memory(NodeId id, bool present) {
    if (!nodes_[id].spec->has_gpus()) {
        return;
    }
    const auto entry = gpu_memories_.try_emplace(gpu_memory_gb(id), 0).first;
    entry->second += present ? 1U : ~0U;
    if (entry->second == 0) {
        gpu_memories_.erase(entry);
    }
}

Charge Cluster::charge_of(const InternedSpec& spec, std::int64_t gpu_memory_gb) const {
    Charge charge;
    const std::vector<Quotas::Resource>& resources = quotas_.resources();
    for (QuotaResource number = 0; number < resources.size(); ++number) {
        const Quotas::Resource& resource = resources[number];
        std::int64_t amount = 0;
        switch (resource.kind) {
            case Quotas::Kind::basic:
                amount = spec.spec->requests.basic[resource.basic];
                break;
            case Quotas::Kind::pods:
                amount = 1;
                break;
            case Quotas::Kind::gpus:
                amount = spec.spec->requests.gpus;
                break;
            case Quotas::Kind::gpu_memory:
                amount = spec.gpu_ask.memory_gb(gpu_memory_gb);
                break;
            case Quotas::Kind::gpu_compute:
                amount = spec.gpu_ask.sevenths(gpu_memory_gb);
                break;
            case Quotas::Kind::extended: {
                const auto found =
                    std::ranges::find(spec.extended, resource.extended, &ExtendedRequests::value_type::first);
                amount = found == spec.extended.end() ? 0 : found->second;
            }
        }
        if (amount > 0) {
            charge.push_back({number, std::min(amount, most_charged)});
        }
    }
    return charge;
}

void Cluster::settle_charge(PodId id) {
    Pod& pod = pods_[id];
    const NodeId node = pod.charged_on();
    const auto memory_gb = static_cast<std::int32_t>(node.valid() ? gpu_memory_gb(node) : 0);
    if (pod.charged_gb != memory_gb) {
        uncharge(id);
        pod.charged_gb = memory_gb;
        count_charge(pod, 1);
    }
}

void Cluster::uncharge(PodId id) {
    count_charge(pods_[id], -1);
    pods_[id].charged_gb = 0;
}

void Cluster::count_charge(const Pod& pod, std::int64_t sign) {
    if (pod.charged_gb > 0 && pod.quota.valid()) {
        quotas_.add(pod.quota, charge_of(specs_[pod.spec], pod.charged_gb), sign);
    }
}

}  // namespace nos
