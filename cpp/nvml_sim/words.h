#pragma once

#include <charconv>
#include <concepts>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nos::nvml_sim {

// A line of text, read word by word. What is missing or is not a number is a std::invalid_argument.
class Words {
  public:
    explicit Words(std::string_view line) : rest_(line) {}

    [[nodiscard]] bool empty() const { return rest_.empty(); }

    std::string_view word() {
        const auto end = rest_.find(' ');
        const std::string_view taken = rest_.substr(0, end);
        rest_ = end == std::string_view::npos ? std::string_view{} : rest_.substr(end + 1);
        if (taken.empty()) {
            throw std::invalid_argument("a word is missing");
        }
        return taken;
    }

    std::string_view rest() { return std::exchange(rest_, {}); }

    template <std::unsigned_integral T = unsigned>
    T number() {
        return parse<T>(word());
    }

    bool flag() { return number() != 0; }

    std::vector<unsigned> numbers() {
        std::vector<unsigned> result;
        std::string_view list = word();
        while (true) {
            const auto comma = list.find(',');
            result.push_back(parse<unsigned>(list.substr(0, comma)));
            if (comma == std::string_view::npos) {
                return result;
            }
            list.remove_prefix(comma + 1);
        }
    }

  private:
    template <class T>
    static T parse(std::string_view text) {
        const bool hexadecimal = text.starts_with("0x");
        if (hexadecimal) {
            text.remove_prefix(2);
        }
        T value{};
        const char* const begin = text.data();
        const char* const end = begin + text.size();
        const auto [stopped, error] = std::from_chars(begin, end, value, hexadecimal ? 16 : 10);
        if (error != std::errc{} || stopped != end) {
            throw std::invalid_argument(std::string(text) + " is not a number");
        }
        return value;
    }

    std::string_view rest_;
};

// Calls `use` with each line of `text`.
template <class Use>
void for_each_line(std::string_view text, Use use) {
    while (!text.empty()) {
        const auto end = text.find('\n');
        if (const std::string_view line = text.substr(0, end); !line.empty()) {
            use(Words(line));
        }
        text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    }
}

}  // namespace nos::nvml_sim
