// Names with how often each is used: one that nobody uses any more is forgotten.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "names.h"

namespace nos {

class CountedNames {
  public:
    std::uint32_t intern(std::string_view name) {
        const std::uint32_t number = names_.intern(name).first;
        if (number >= users_.size()) {
            users_.resize(number + std::size_t{1});
        }
        ++users_[number];
        return number;
    }
    void release(std::uint32_t number) {
        if (--users_[number] == 0) {
            names_.release(number);
        }
    }
    [[nodiscard]] std::optional<std::uint32_t> find(std::string_view name) const { return names_.find(name); }
    // By number.
    [[nodiscard]] const std::vector<std::uint32_t>& users() const { return users_; }

  private:
    Names names_;
    std::vector<std::uint32_t> users_;
};

}  // namespace nos
