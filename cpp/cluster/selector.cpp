#include "selector.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <stdexcept>

namespace nos {

namespace {

std::optional<std::int64_t> parse_integer(std::string_view text) {
    if (text.starts_with('+')) {  // Go's ParseInt takes a plus sign, from_chars does not
        text.remove_prefix(1);
        if (text.starts_with('-')) {
            return std::nullopt;
        }
    }
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size()) {
        return std::nullopt;
    }
    return number;
}

}  // namespace

std::optional<std::string_view> find_label(const Labels& labels, std::string_view key) {
    const auto found = std::ranges::lower_bound(
        labels, key, {}, [](const auto& label) -> std::string_view { return label.first; });
    if (found == labels.end() || found->first != key) {
        return std::nullopt;
    }
    return found->second;
}

bool Requirement::matches(std::optional<std::string_view> value) const {
    switch (op) {
        case Operator::exists:
            return value.has_value();
        case Operator::does_not_exist:
            return !value.has_value();
        case Operator::in:
            return value && std::ranges::find(values, *value) != values.end();
        case Operator::not_in:
            return !value || std::ranges::find(values, *value) == values.end();
        case Operator::gt:
        case Operator::lt:
            break;
    }
    if (!value || values.size() != 1) {
        return false;
    }
    const auto has = parse_integer(*value);
    const auto bound = parse_integer(values.front());
    if (!has || !bound) {
        return false;
    }
    return op == Operator::gt ? *has > *bound : *has < *bound;
}

bool SelectorTerm::matches(const Labels& labels, std::string_view node_name) const {
    if (expressions.empty() && fields.empty()) {
        return false;
    }
    const auto label_matches = [&](const Requirement& r) { return r.matches(find_label(labels, r.key)); };
    const auto field_matches = [&](const Requirement& r) { return r.matches(node_name); };
    return std::ranges::all_of(expressions, label_matches) && std::ranges::all_of(fields, field_matches);
}

bool Toleration::tolerates(const Taint& taint) const {
    if (effect != Effect::any && effect != taint.effect) {
        return false;
    }
    if (!key.empty() && key != taint.key) {
        return false;
    }
    if (exists) {
        return true;
    }
    return value == taint.value;
}

bool tolerated(const Taint& taint, const std::vector<Toleration>& tolerations) {
    return std::ranges::any_of(tolerations, [&](const Toleration& t) { return t.tolerates(taint); });
}

Operator parse_operator(std::string_view text) {
    constexpr auto operators = std::to_array<std::pair<std::string_view, Operator>>({
        {"In", Operator::in},
        {"NotIn", Operator::not_in},
        {"Exists", Operator::exists},
        {"DoesNotExist", Operator::does_not_exist},
        {"Gt", Operator::gt},
        {"Lt", Operator::lt},
    });
    for (const auto& [name, op] : operators) {
        if (name == text) {
            return op;
        }
    }
    throw std::invalid_argument("operator must be In, NotIn, Exists, DoesNotExist, Gt or Lt, not '" +
                                std::string{text} + "'");
}

Effect parse_effect(std::string_view text) {
    constexpr auto effects = std::to_array<std::pair<std::string_view, Effect>>({
        {"", Effect::any},
        {"NoSchedule", Effect::no_schedule},
        {"PreferNoSchedule", Effect::prefer_no_schedule},
        {"NoExecute", Effect::no_execute},
    });
    for (const auto& [name, effect] : effects) {
        if (name == text) {
            return effect;
        }
    }
    throw std::invalid_argument("effect must be NoSchedule, PreferNoSchedule or NoExecute, not '" +
                                std::string{text} + "'");
}

}  // namespace nos
