// Specs that Pods of a Cluster share, with all that they name as numbers.
#include <algorithm>

#include "cluster.h"

namespace nos {

SpecId Cluster::intern(const std::shared_ptr<const PodSpec>& spec) {
    const std::size_t hash = spec->hash();
    const auto [first, last] = spec_by_hash_.equal_range(hash);
    for (auto candidate = first; candidate != last; ++candidate) {
        InternedSpec& interned = specs_[candidate->second];
        if (interned.spec == spec || *interned.spec == *spec) {
            unused_specs_ -= interned.pods == 0 ? 1 : 0;
            ++interned.pods;
            return candidate->second;
        }
    }
    SpecId id{specs_.size()};
    if (!free_specs_.empty()) {
        id = free_specs_.back();
        free_specs_.pop_back();
    }
    specs_.renew(id) = numbered(spec, hash);
    spec_by_hash_.emplace(hash, id);
    return id;
}

InternedSpec Cluster::numbered(const std::shared_ptr<const PodSpec>& spec, std::size_t hash) {
    for (const auto& [name, amount] : spec->requests.extended) {
        resource_names_.intern(name);
    }
    InternedSpec interned{spec, ++versions_, hash, resolve(*spec), 1, {}, {}, {}, GpuAsk{*spec}};
    for (const PodTerm& term : spec->pod_affinity) {
        interned.terms.push_back(numbered(Term::Role::affinity, term, 0));
    }
    for (const PodTerm& term : spec->pod_anti_affinity) {
        interned.terms.push_back(numbered(Term::Role::anti_affinity, term, 0));
    }
    for (const WeightedPodTerm& preferred : spec->preferred_pod_affinity) {
        interned.terms.push_back(numbered(Term::Role::preference, preferred.term, preferred.weight));
    }
    for (const SpreadConstraint& constraint : spec->spread) {
        interned.terms.push_back(
            numbered(Term::Role::spread, {constraint.topology_key, constraint.selector}, 0));
    }
    for (const std::string& claim : spec->sole_claims) {
        const ClaimId id{claim_names_.intern(claim)};
        if (id.value() >= claim_pods_.size()) {
            claim_pods_.resize(id.value() + std::size_t{1});
        }
        interned.sole_claims.push_back(id);
    }
    for (const Attachment& volume : spec->volumes) {
        interned.volumes.push_back(attachments_.intern(volume));
    }
    return interned;
}

Term Cluster::numbered(Term::Role role, const PodTerm& term, std::int32_t weight) {
    return {role, intern_topology(term.topology_key),
            selection_.intern(term.selector, role != Term::Role::spread), weight};
}

TopologyId Cluster::intern_topology(std::string_view key) {
    const auto [topology, is_new] = topologies_.intern(key);
    if (is_new) {
        for (std::size_t number = 0; number < nodes_.size(); ++number) {
            if (const NodeId node{number}; nodes_[node].present()) {
                topologies_[topology].set(node, nodes_[node].spec->labels);
            }
        }
    }
    return topology;
}

void Cluster::release_parts(const InternedSpec& interned) {
    for (const Term& term : interned.terms) {
        topologies_.release(term.topology);
        selection_.release(term.selector, term.role != Term::Role::spread);
    }
    for (const ClaimId claim : interned.sole_claims) {
        claim_names_.release(claim.value());
    }
    for (const VolumeId volume : interned.volumes) {
        attachments_.release(volume);
    }
}

ExtendedRequests Cluster::resolve(const PodSpec& spec) const {
    ExtendedRequests requests;
    for (const auto& [name, amount] : spec.requests.extended) {
        if (amount > 0) {
            const auto number = resource_names_.find(name);
            requests.emplace_back(number ? ResourceId{*number} : ResourceId{}, amount);
        }
    }
    return requests;
}

void Cluster::release(SpecId spec) {
    if (--specs_[spec].pods == 0) {
        ++unused_specs_;
        if (unused_specs_ > 64 && unused_specs_ * 2 > spec_by_hash_.size()) {
            sweep_specs();
        }
    }
}

void Cluster::sweep_specs() {
    std::erase_if(spec_by_hash_, [this](const auto& entry) { return specs_[entry.second].pods == 0; });
    free_specs_.clear();
    for (std::size_t number = specs_.size(); number-- > 0;) {
        const SpecId id{number};
        if (specs_[id].pods == 0) {
            release_parts(specs_[id]);
            specs_[id] = {};
            free_specs_.push_back(id);
        }
    }
    unused_specs_ = 0;
}

}  // namespace nos
