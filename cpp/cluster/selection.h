// Who is selected by whom: the labels of Pods and namespaces, and the selectors in Pods' specs.
//
// Kept up to date so that nobody matches strings twice: each new selector is matched once against every set
// of labels, each new set of labels once against every selector. Pods that the same selectors select are of
// one kin: whoever counts Pods by selector looks at their kin alone.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "id.h"
#include "pod_selector.h"

namespace nos {

using LabelsId = Id<struct LabelsTag>;
using SelectorId = Id<struct SelectorTag>;
using KinId = Id<struct KinTag>;

class Selection {
  public:
    // Who interned what and has not released it.
    struct Users {
        std::map<LabelsId, std::uint32_t> labels;
        std::map<SelectorId, std::uint32_t> selectors;
        std::map<SelectorId, std::uint32_t> near_by;  // of them terms
    };

    // Each counts one more user, until that one releases it. near_by: of a term, not of a spread constraint.
    LabelsId intern(const std::shared_ptr<const PodLabels>& labels);
    SelectorId intern(const PodSelector& selector, bool near_by);
    void release(LabelsId id);
    void release(SelectorId id, bool near_by);

    // False when nothing changed.
    bool set_namespace(std::string_view name, Labels labels);
    bool remove_namespace(std::string_view name);

    [[nodiscard]] const PodLabels& labels(LabelsId id) const { return *sets_[id].labels; }
    [[nodiscard]] const std::shared_ptr<const PodLabels>& shared_labels(LabelsId id) const {
        return sets_[id].labels;
    }
    [[nodiscard]] const PodSelector& selector(SelectorId id) const { return *selectors_[id].selector; }
    // Labels by name, of those that are known.
    [[nodiscard]] const std::map<std::string, Labels, std::less<>>& namespaces() const { return namespaces_; }
    [[nodiscard]] KinId kin(LabelsId id) const { return sets_[id].kin; }
    [[nodiscard]] bool selects(SelectorId selector, KinId kin) const;
    // Unique in this ledger, while the number of a kin is given out again.
    [[nodiscard]] std::uint64_t serial(KinId kin) const { return kins_[kin].serial; }
    [[nodiscard]] std::size_t kin_bound() const { return kins_.size(); }
    // Whether an (anti-)affinity term of any Pod selects them; spread constraints matter to their own Pod
    // alone.
    [[nodiscard]] bool is_near_by(KinId kin) const;

    // Matches everything anew; throws std::logic_error where the kept differs.
    void check(const Users& users) const;

  private:
    using Selectors = std::vector<SelectorId>;  // ascending

    struct LabelSet {
        std::shared_ptr<const PodLabels> labels;  // null: the number is free
        std::size_t hash = 0;
        std::uint32_t users = 0;
        KinId kin;
    };

    struct Selector {
        std::shared_ptr<const PodSelector> selector;  // null: the number is free
        std::uint32_t users = 0;
        std::uint32_t near_by = 0;  // of them terms
    };

    struct Kin {
        Selectors selectors;
        std::uint32_t sets = 0;  // 0: the number is free
        std::uint64_t serial = 0;
    };

    [[nodiscard]] bool selects(const PodSelector& selector, const PodLabels& labels) const;
    [[nodiscard]] Selectors selectors_of(const PodLabels& labels) const;
    void join(LabelSet& set, Selectors selectors);
    void leave(LabelSet& set);
    void match_again(std::string_view namespace_name);

    std::map<std::string, Labels, std::less<>> namespaces_;
    Table<LabelsId, LabelSet> sets_;
    std::vector<LabelsId> free_sets_;
    std::unordered_multimap<std::size_t, LabelsId> set_by_hash_;
    Table<SelectorId, Selector> selectors_;
    std::vector<SelectorId> free_selectors_;
    std::map<PodSelector, SelectorId> selector_by_value_;
    Table<KinId, Kin> kins_;
    std::vector<KinId> free_kins_;
    std::map<Selectors, KinId> kin_by_selectors_;
    std::uint64_t serials_ = 0;
};

}  // namespace nos
