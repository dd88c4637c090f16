// One thread at a time inside a Cluster: misuse is an exception, never a race.
#pragma once

#include <atomic>
#include <stdexcept>

namespace nos {

class ClusterBusy : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// Not copied with the Cluster it guards.
class Door {
  public:
    Door() = default;
    Door(const Door& /*other*/) {}                            // NOLINT(bugprone-copy-constructor-init)
    Door& operator=(const Door& /*other*/) { return *this; }  // NOLINT(cert-oop54-cpp)
    Door(Door&& /*other*/) noexcept {}
    Door& operator=(Door&& /*other*/) noexcept { return *this; }
    ~Door() = default;

  private:
    friend class Entry;
    std::atomic_flag taken_;
};

class Entry {
  public:
    explicit Entry(Door& door) : door_{door} {
        if (door_.taken_.test_and_set(std::memory_order_acquire)) {
            throw ClusterBusy(
                "this Cluster is in use by another thread: queue the change until schedule returns");
        }
    }
    ~Entry() { door_.taken_.clear(std::memory_order_release); }
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;
    Entry(Entry&&) = delete;
    Entry& operator=(Entry&&) = delete;

  private:
    Door& door_;
};

}  // namespace nos
