#include "selector.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <stdexcept>

namespace nos {

namespace {

// By number.
constexpr auto operators = std::to_array<std::pair<Operator, std::string_view>>({
    {Operator::in, "In"},
    {Operator::not_in, "NotIn"},
    {Operator::exists, "Exists"},
    {Operator::does_not_exist, "DoesNotExist"},
    {Operator::gt, "Gt"},
    {Operator::lt, "Lt"},
});
constexpr auto effects = std::to_array<std::pair<Effect, std::string_view>>({
    {Effect::any, ""},
    {Effect::no_schedule, "NoSchedule"},
    {Effect::prefer_no_schedule, "PreferNoSchedule"},
    {Effect::no_execute, "NoExecute"},
});

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
    for (const auto& [op, name] : operators) {
        if (name == text) {
            return op;
        }
    }
    throw std::invalid_argument("operator must be In, NotIn, Exists, DoesNotExist, Gt or Lt, not '" +
                                std::string{text} + "'");
}

Effect parse_effect(std::string_view text) {
    for (const auto& [effect, name] : effects) {
        if (name == text) {
            return effect;
        }
    }
    throw std::invalid_argument("effect must be NoSchedule, PreferNoSchedule or NoExecute, not '" +
                                std::string{text} + "'");
}

std::string_view name(Operator op) { return operators.at(static_cast<std::size_t>(op)).second; }

std::string_view name(Effect effect) { return effects.at(static_cast<std::size_t>(effect)).second; }

}  // namespace nos
