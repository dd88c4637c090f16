#include "selection.h"

#include <algorithm>
#include <stdexcept>

namespace nos {

namespace {

// A number that nobody has.
template <class Id, class Value>
Id give_out(Table<Id, Value>& table, std::vector<Id>& free) {
    Id id{table.size()};
    if (!free.empty()) {
        id = free.back();
        free.pop_back();
    }
    table.renew(id);
    return id;
}

}  // namespace

LabelsId Selection::intern(const std::shared_ptr<const PodLabels>& labels) {
    const std::size_t hash = labels->hash();
    const auto [first, last] = set_by_hash_.equal_range(hash);
    for (auto candidate = first; candidate != last; ++candidate) {
        LabelSet& set = sets_[candidate->second];
        if (set.labels == labels || *set.labels == *labels) {
            ++set.users;
            return candidate->second;
        }
    }
    const LabelsId id = give_out(sets_, free_sets_);
    set_by_hash_.emplace(hash, id);
    sets_[id] = {labels, hash, 1, {}};
    join(sets_[id], selectors_of(*labels));
    return id;
}

void Selection::release(LabelsId id) {
    LabelSet& set = sets_[id];
    if (--set.users > 0) {
        return;
    }
    const auto [first, last] = set_by_hash_.equal_range(set.hash);
    set_by_hash_.erase(std::find_if(first, last, [&](const auto& entry) { return entry.second == id; }));
    leave(set);
    set = {};
    free_sets_.push_back(id);
}

SelectorId Selection::intern(const PodSelector& selector, bool near_by) {
    if (const auto known = selector_by_value_.find(selector); known != selector_by_value_.end()) {
        ++selectors_[known->second].users;
        selectors_[known->second].near_by += near_by ? 1U : 0U;
        return known->second;
    }
    const SelectorId id = give_out(selectors_, free_selectors_);
    selector_by_value_.emplace(selector, id);
    selectors_[id] = {std::make_shared<PodSelector>(selector), 1, near_by ? 1U : 0U};
    for (LabelSet& set : sets_.values()) {
        if (set.users > 0 && selects(selector, *set.labels)) {
            Selectors selectors = kins_[set.kin].selectors;
            selectors.insert(std::ranges::lower_bound(selectors, id), id);
            leave(set);
            join(set, std::move(selectors));
        }
    }
    return id;
}

void Selection::release(SelectorId id, bool near_by) {
    Selector& selector = selectors_[id];
    selector.near_by -= near_by ? 1U : 0U;
    if (--selector.users > 0) {
        return;
    }
    for (LabelSet& set : sets_.values()) {
        if (set.users > 0 && selects(id, set.kin)) {
            Selectors selectors = kins_[set.kin].selectors;
            std::erase(selectors, id);
            leave(set);
            join(set, std::move(selectors));
        }
    }
    selector_by_value_.erase(*selector.selector);
    selector = {};
    free_selectors_.push_back(id);
}

bool Selection::set_namespace(std::string_view name, Labels labels) {
    const auto known = namespaces_.find(name);
    if (known != namespaces_.end() && known->second == labels) {
        return false;
    }
    namespaces_.insert_or_assign(std::string{name}, std::move(labels));
    match_again(name);
    return true;
}

bool Selection::remove_namespace(std::string_view name) {
    const auto known = namespaces_.find(name);
    if (known == namespaces_.end()) {
        return false;
    }
    namespaces_.erase(known);
    match_again(name);
    return true;
}

bool Selection::selects(SelectorId selector, KinId kin) const {
    return std::ranges::binary_search(kins_[kin].selectors, selector);
}

bool Selection::is_near_by(KinId kin) const {
    return std::ranges::any_of(kins_[kin].selectors,
                               [&](SelectorId selector) { return selectors_[selector].near_by > 0; });
}

bool Selection::selects(const PodSelector& selector, const PodLabels& labels) const {
    static const Labels unknown;  // as kube-scheduler has it of a namespace that it does not know
    const auto found = namespaces_.find(labels.namespace_name);
    return selector.selects(labels, found == namespaces_.end() ? unknown : found->second);
}

Selection::Selectors Selection::selectors_of(const PodLabels& labels) const {
    Selectors found;
    for (std::size_t number = 0; number < selectors_.size(); ++number) {
        const Selector& selector = selectors_[SelectorId{number}];
        if (selector.users > 0 && selects(*selector.selector, labels)) {
            found.emplace_back(number);
        }
    }
    return found;
}

void Selection::join(LabelSet& set, Selectors selectors) {
    const auto known = kin_by_selectors_.find(selectors);
    if (known != kin_by_selectors_.end()) {
        set.kin = known->second;
    } else {
        set.kin = give_out(kins_, free_kins_);
        kin_by_selectors_.emplace(selectors, set.kin);
        kins_[set.kin] = {std::move(selectors), 0, ++serials_};
    }
    ++kins_[set.kin].sets;
}

void Selection::leave(LabelSet& set) {
    Kin& kin = kins_[set.kin];
    if (--kin.sets == 0) {
        kin_by_selectors_.erase(kin.selectors);
        kin = {};
        free_kins_.push_back(set.kin);
    }
    set.kin = {};
}

void Selection::match_again(std::string_view namespace_name) {
    for (LabelSet& set : sets_.values()) {
        if (set.users > 0 && set.labels->namespace_name == namespace_name) {
            Selectors selectors = selectors_of(*set.labels);
            leave(set);
            join(set, std::move(selectors));
        }
    }
}

void Selection::check(const Users& users) const {
    Users kept;
    for (std::size_t number = 0; number < sets_.size(); ++number) {
        if (const LabelsId id{number}; sets_[id].users > 0) {
            kept.labels[id] = sets_[id].users;
        }
    }
    for (std::size_t number = 0; number < selectors_.size(); ++number) {
        if (const SelectorId id{number}; selectors_[id].users > 0) {
            kept.selectors[id] = selectors_[id].users;
            if (selectors_[id].near_by > 0) {
                kept.near_by[id] = selectors_[id].near_by;
            }
        }
    }
    if (kept.labels != users.labels || kept.selectors != users.selectors || kept.near_by != users.near_by) {
        throw std::logic_error("users of labels and selectors");
    }
    std::map<KinId, std::uint32_t> sets;
    for (const LabelSet& set : sets_.values()) {
        if (set.users == 0) {
            continue;
        }
        ++sets[set.kin];
        if (kins_[set.kin].selectors != selectors_of(*set.labels)) {
            throw std::logic_error("selectors of labels in namespace " + set.labels->namespace_name);
        }
    }
    for (std::size_t number = 0; number < kins_.size(); ++number) {
        if (kins_[KinId{number}].sets != sets[KinId{number}]) {
            throw std::logic_error("label sets of kin " + std::to_string(number));
        }
    }
}

}  // namespace nos
