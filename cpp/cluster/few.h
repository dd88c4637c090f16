// A vector whose first N elements need no allocation: copying a Cluster copies tens of thousands of them.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <initializer_list>
#include <vector>

namespace nos {

// T is a plain value. Up to N elements lie inside, more of them all on the heap.
template <class T, std::size_t N>
class Few {
  public:
    using value_type = T;
    using iterator = T*;
    using const_iterator = const T*;

    Few() = default;
    Few(std::initializer_list<T> values) { assign(values.begin(), values.end()); }
    template <class Iterator>
    Few(Iterator first, Iterator last) {
        assign(first, last);
    }

    [[nodiscard]] std::size_t size() const { return size_; }
    [[nodiscard]] bool empty() const { return size_ == 0; }
    T* begin() { return size_ <= N ? inside_.data() : outside_.data(); }
    T* end() { return begin() + size_; }
    [[nodiscard]] const T* begin() const { return size_ <= N ? inside_.data() : outside_.data(); }
    [[nodiscard]] const T* end() const { return begin() + size_; }
    T& operator[](std::size_t index) { return begin()[index]; }
    const T& operator[](std::size_t index) const { return begin()[index]; }
    T& back() { return begin()[size_ - 1]; }

    void push_back(const T& value) {
        if (size_ == N) {
            outside_.assign(inside_.begin(), inside_.end());
        }
        if (size_ >= N) {
            outside_.push_back(value);
        } else {
            inside_[size_] = value;
        }
        ++size_;
    }
    void pop_back() {
        --size_;
        if (size_ == N) {
            std::copy_n(outside_.begin(), N, inside_.begin());
            outside_.clear();
        } else if (size_ > N) {
            outside_.pop_back();
        }
    }
    void clear() {
        size_ = 0;
        outside_.clear();
    }
    // Any number of equal values.
    void assign(std::size_t count, const T& value) {
        clear();
        size_ = count;
        if (count > N) {
            outside_.assign(count, value);
        } else {
            std::fill_n(inside_.begin(), count, value);
        }
    }
    template <class Iterator>
    void assign(Iterator first, Iterator last) {
        clear();
        for (; first != last; ++first) {
            push_back(*first);
        }
    }

    bool operator==(const Few& other) const { return std::equal(begin(), end(), other.begin(), other.end()); }

  private:
    std::array<T, N> inside_{};
    std::size_t size_ = 0;
    std::vector<T> outside_;
};

}  // namespace nos
