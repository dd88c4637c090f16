// Label selectors, taints and tolerations: what a Pod says about nodes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nos {

// Sorted by key, keys unique.
using Labels = std::vector<std::pair<std::string, std::string>>;

std::optional<std::string_view> find_label(const Labels& labels, std::string_view key);

enum class Operator : std::uint8_t { in, not_in, exists, does_not_exist, gt, lt };

struct Requirement {
    std::string key;
    Operator op = Operator::in;
    std::vector<std::string> values;

    // `value`: what the node has under `key`. As in apimachinery's labels.Requirement: Gt and Lt compare
    // 64-bit integers and do not match anything else; NotIn matches a node without the label.
    [[nodiscard]] bool matches(std::optional<std::string_view> value) const;
    auto operator<=>(const Requirement&) const = default;
};

struct SelectorTerm {
    std::vector<Requirement> expressions;  // on labels
    std::vector<Requirement> fields;       // on metadata.name

    // An empty term matches nothing.
    [[nodiscard]] bool matches(const Labels& labels, std::string_view node_name) const;
    auto operator<=>(const SelectorTerm&) const = default;
};

enum class Effect : std::uint8_t { any, no_schedule, prefer_no_schedule, no_execute };

struct Taint {
    std::string key;
    std::string value;
    Effect effect = Effect::no_schedule;

    auto operator<=>(const Taint&) const = default;
};

struct Toleration {
    std::string key;
    bool exists = false;  // operator Exists; else Equal
    std::string value;
    Effect effect = Effect::any;

    [[nodiscard]] bool tolerates(const Taint& taint) const;
    auto operator<=>(const Toleration&) const = default;
};

bool tolerated(const Taint& taint, const std::vector<Toleration>& tolerations);

Operator parse_operator(std::string_view text);  // throws std::invalid_argument
Effect parse_effect(std::string_view text);      // "" is any; throws std::invalid_argument
std::string_view name(Operator op);
std::string_view name(Effect effect);

}  // namespace nos
