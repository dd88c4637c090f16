#include "quotas.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace nos {

namespace {

constexpr std::int64_t most_guaranteed = 1LL << 55;  // by one quota with all below it

std::int64_t find_amount(const Amounts& amounts, std::string_view name) {
    const auto found = std::ranges::lower_bound(amounts, name, {}, &Amounts::value_type::first);
    return found != amounts.end() && found->first == name ? found->second : Quotas::unnamed;
}

}  // namespace

std::optional<QuotaId> Quotas::find(std::string_view name) const {
    const auto number = names_.find(name);
    return number ? std::optional{QuotaId{*number}} : std::nullopt;
}

QuotaId Quotas::root(QuotaId id) const {
    while (parents_[id].valid()) {
        id = parents_[id];
    }
    return id;
}

QuotaId Quotas::namer(QuotaId id, QuotaResource resource) const {
    while (id.valid() && !use(id, resource).named()) {
        id = parents_[id];
    }
    return id;
}

std::int64_t Quotas::guaranteed(QuotaId id, QuotaResource resource) const {
    return share(id, resource, pool(parents_[id], resource).idle);
}

std::int64_t Quotas::share(QuotaId id, QuotaResource resource, Wide idle) const {
    const Use& use = this->use(id, resource);
    const Wide all = pool(parents_[id], resource).min;
    if (!use.named() || all == 0) {
        return 0;
    }
    return static_cast<std::int64_t>(use.min * idle / all);
}

Quotas::Upserted Quotas::upsert(std::string_view name, std::shared_ptr<const QuotaSpec> spec,
                                const Resolve& resolve) {
    require_no_circle(name, spec->parent);
    const auto [number, is_new] = names_.intern(name);
    const QuotaId id{number};
    if (is_new) {
        const std::uint64_t version = ++last_version_;
        if (number >= specs_.size()) {
            specs_.resize(number + std::size_t{1});
            parents_.resize(specs_.size());
            children_.resize(specs_.size());
            versions_.resize(specs_.size());
            habits_.resize(specs_.size());
            is_changed_.resize(specs_.size());
            uses_.resize(specs_.size() * resources_.size());
        }
        versions_[id] = version;
        habits_[id] = 0;
        parents_[id] = {};
        for (QuotaResource resource = 0; resource < resources_.size(); ++resource) {
            use_of(id, resource) = {};
        }
    } else {
        touch_all_around(id);
    }
    const bool counts_more = name_resources(*spec, resolve);
    specs_[id] = std::move(spec);
    settle();
    touch_all_around(id);
    return {id, counts_more};
}

void Quotas::erase(QuotaId id) {
    touch_all_around(id);
    ++last_version_;
    specs_[id] = nullptr;
    names_.release(id.value());
    if (empty()) {
        resources_.clear();
        uses_.clear();
        pools_.clear();
        changed_.clear();
        specs_ = {};
        parents_ = {};
        children_ = {};
        versions_ = {};
        habits_ = {};
        is_changed_ = {};
        return;
    }
    settle();
}

void Quotas::require_no_circle(std::string_view name, std::string_view parent) const {
    while (!parent.empty()) {
        if (parent == name) {
            throw std::invalid_argument("quota " + std::string{name} + " would be its own ancestor");
        }
        const auto id = find(parent);
        parent = id ? std::string_view{specs_[*id]->parent} : std::string_view{};
    }
}

bool Quotas::name_resources(const QuotaSpec& spec, const Resolve& resolve) {
    const std::size_t before = resources_.size();
    for (const Amounts* amounts : {&spec.min, &spec.max}) {
        for (const auto& [name, amount] : *amounts) {
            if (std::ranges::find(resources_, name, &Resource::name) != resources_.end()) {
                continue;
            }
            Resource resource{name, Kind::extended, 0, {}};
            const auto* const basic = std::ranges::find(basic_names, name);
            if (basic != basic_names.end()) {
                resource.kind = Kind::basic;
                resource.basic = static_cast<std::size_t>(basic - basic_names.begin());
            } else if (name == pods_resource) {
                resource.kind = Kind::pods;
            } else if (name == gpu_resource) {
                resource.kind = Kind::gpus;
            } else if (name == gpu_memory_resource) {
                resource.kind = Kind::gpu_memory;
            } else if (name == gpu_compute_resource) {
                resource.kind = Kind::gpu_compute;
            } else {
                resource.extended = resolve(name);
            }
            resources_.push_back(std::move(resource));
        }
    }
    if (resources_.size() == before) {
        return false;
    }
    uses_.assign(specs_.size() * resources_.size(), {});
    return true;
}

void Quotas::clear_used() {
    for (Use& use : uses_) {
        use.used = 0;
        use.used_itself = 0;
    }
    settle();
}

std::vector<QuotaId> Quotas::children_first() const {
    std::vector<std::pair<std::size_t, QuotaId>> by_depth;
    for (std::size_t number = 0; number < specs_.size(); ++number) {
        if (const QuotaId id{number}; exists(id)) {
            std::size_t depth = 0;
            for (QuotaId above = parents_[id]; above.valid(); above = parents_[above]) {
                ++depth;
            }
            by_depth.emplace_back(depth, id);
        }
    }
    std::ranges::stable_sort(by_depth, std::greater{}, &std::pair<std::size_t, QuotaId>::first);
    std::vector<QuotaId> order;
    for (const auto& [depth, id] : by_depth) {
        order.push_back(id);
    }
    return order;
}

void Quotas::settle_tree() {
    for (std::size_t number = 0; number < specs_.size(); ++number) {
        parents_[QuotaId{number}] = {};
        children_[QuotaId{number}].clear();
    }
    for (std::size_t number = 0; number < specs_.size(); ++number) {
        const QuotaId id{number};
        const auto parent = exists(id) ? find(specs_[id]->parent) : std::nullopt;
        if (parent) {
            parents_[id] = *parent;
            children_[*parent].push_back(id);
        }
    }
}

// Everything but what each quota's own Pods use follows from the specs and that.
void Quotas::settle() {
    settle_tree();
    const std::size_t count = resources_.size();
    std::vector<std::int64_t> of_children(specs_.size() * count, unnamed);
    pools_.assign((specs_.size() + 1) * count, {});
    for (std::size_t number = 0; number < specs_.size(); ++number) {
        for (QuotaResource resource = 0; resource < count; ++resource) {
            Use& use = use_of(QuotaId{number}, resource);
            use.used = use.used_itself;
        }
    }
    for (const QuotaId id : children_first()) {
        const QuotaId parent = parents_[id];
        for (QuotaResource resource = 0; resource < count; ++resource) {
            Use& use = use_of(id, resource);
            const std::string& name = resources_[resource].name;
            const std::int64_t below = of_children[id.value() * count + resource];
            use.min = std::max(find_amount(specs_[id]->min, name), below);
            use.max = find_amount(specs_[id]->max, name);
            use.slack = use.named() ? use.min - std::max<std::int64_t>(below, 0) : 0;
            if (use.named()) {
                Pool& pool = pools_[pool_number(parent) * count + resource];
                pool.min += use.min;
                pool.used += use.used;
                pool.idle += use.idle();
            }
            if (parent.valid()) {
                use_of(parent, resource).used += use.used;
                if (use.named()) {
                    std::int64_t& with = of_children[parent.value() * count + resource];
                    with = std::min(std::max<std::int64_t>(with, 0) + use.min, most_guaranteed);
                }
            }
        }
    }
}

void Quotas::add(QuotaId id, const Charge& charge, std::int64_t sign) {
    for (const Amount& amount : charge) {
        use_of(id, amount.resource).used_itself += sign * amount.amount;
    }
    for (; id.valid(); id = parents_[id]) {
        for (const Amount& amount : charge) {
            Use& use = use_of(id, amount.resource);
            const std::int64_t idle = use.idle();
            const std::int64_t more = sign * amount.amount;
            use.used += more;
            if (use.named()) {
                Pool& pool = pools_[pool_number(parents_[id]) * resources_.size() + amount.resource];
                pool.used += more;
                pool.idle += use.idle() - idle;
            }
        }
        mark(id);
    }
}

void Quotas::touch(QuotaId id) {
    for (; id.valid(); id = parents_[id]) {
        mark(id);
    }
}

void Quotas::mark(QuotaId id) {
    versions_[id] = ++last_version_;
    if (is_changed_[id] == 0) {
        is_changed_[id] = 1;
        changed_.push_back(id);
    }
}

// Its ancestors, and all below its root: a guarantee may be another's now.
void Quotas::touch_all_around(QuotaId id) {
    std::vector<QuotaId> left{root(id)};
    while (!left.empty()) {
        const QuotaId next = left.back();
        left.pop_back();
        mark(next);
        left.insert(left.end(), children_[next].begin(), children_[next].end());
    }
}

std::vector<QuotaId> Quotas::take_changed() {
    // A Pod's guarantee may be an ancestor's, which all who lean on it share.
    for (std::size_t i = 0; i < changed_.size(); ++i) {
        const QuotaId id = changed_[i];
        if (!exists(id)) {
            continue;
        }
        for (const QuotaId child : children_[id]) {
            bool leans = false;
            for (QuotaResource resource = 0; resource < resources_.size(); ++resource) {
                leans = leans || (use(id, resource).named() && !use(child, resource).named());
            }
            if (leans && is_changed_[child] == 0) {
                is_changed_[child] = 1;
                changed_.push_back(child);
            }
        }
    }
    std::vector<QuotaId> changed = std::exchange(changed_, {});
    for (const QuotaId id : changed) {
        is_changed_[id] = 0;
    }
    std::erase_if(changed, [&](QuotaId id) { return !exists(id); });
    std::ranges::sort(changed);
    return changed;
}

void Quotas::check() const {
    Quotas anew = *this;
    anew.settle();
    if (anew.parents_.values() != parents_.values() || anew.children_.values() != children_.values()) {
        throw std::logic_error("parents of quotas");
    }
    if (!same_sums(anew)) {
        throw std::logic_error("sums of quotas");
    }
}

}  // namespace nos
