// Ids that do not convert into each other, and tables indexed by one kind of id only.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace nos {

// The number of a thing within one Cluster. Numbers of removed things are given out again.
template <class Tag>
class Id {
  public:
    constexpr Id() = default;
    explicit constexpr Id(std::size_t value) : value_(static_cast<std::uint32_t>(value)) {}

    [[nodiscard]] constexpr std::uint32_t value() const { return value_; }
    [[nodiscard]] constexpr bool valid() const { return value_ != none; }
    constexpr auto operator<=>(const Id&) const = default;

  private:
    static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();
    std::uint32_t value_ = none;
};

using NodeId = Id<struct NodeTag>;
using PodId = Id<struct PodTag>;
using SpecId = Id<struct SpecTag>;
using ResourceId = Id<struct ResourceTag>;
using GangId = Id<struct GangTag>;

template <class Key, class Value>
class Table {
  public:
    Value& operator[](Key key) { return values_[key.value()]; }
    const Value& operator[](Key key) const { return values_[key.value()]; }

    [[nodiscard]] std::size_t size() const { return values_.size(); }
    void resize(std::size_t size, const Value& value = {}) { values_.resize(size, value); }

    // The value of a key that was just given out: the table grows, or the slot starts anew.
    Value& renew(Key key) {
        if (key.value() >= values_.size()) {
            values_.resize(key.value() + std::size_t{1});
        } else {
            values_[key.value()] = Value{};
        }
        return values_[key.value()];
    }

    [[nodiscard]] const std::vector<Value>& values() const { return values_; }
    std::vector<Value>& values() { return values_; }

  private:
    std::vector<Value> values_;
};

}  // namespace nos
