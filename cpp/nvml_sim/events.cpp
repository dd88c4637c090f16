// Events: a set hears, from when a GPU was registered in it, what was put into the state.
#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <system_error>
#include <vector>

#include "abi.h"
#include "driver.h"
#include "handles.h"
#include "store.h"

namespace {

using namespace nos::nvml_sim;  // NOLINT(google-build-using-namespace)

constexpr const char* no_function = "";  // a look that is no call of its own: no fault concerns it
constexpr std::uint64_t supported_types = 0x1 | 0x2 | 0x8;  // ECC errors of both kinds, XID

struct Registration {
    unsigned gpu;
    std::uint64_t types;
};

struct EventSet {
    std::vector<Registration> registrations;
    std::uint64_t heard = 0;  // events up to this serial number are past
};

struct EventSets {
    std::mutex mutex;
    std::uint64_t last = 0;
    std::map<EventSetHandle, EventSet> sets;
};

EventSets& event_sets() {
    static EventSets sets;
    return sets;
}

EventSet& find(EventSets& all, EventSetHandle handle) {
    const auto found = all.sets.find(handle);
    if (found == all.sets.end()) {
        throw Refusal{Return::invalid_argument};
    }
    return found->second;
}

// Tells when the state was replaced.
class Watch {
  public:
    Watch() : descriptor_(inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {
        const auto folder = std::filesystem::absolute(configuration_path()).parent_path();
        if (descriptor_ < 0 || inotify_add_watch(descriptor_, folder.c_str(), IN_MOVED_TO) < 0) {
            const int error = errno;
            close(descriptor_);
            throw std::system_error(error, std::generic_category());
        }
    }
    ~Watch() { close(descriptor_); }
    Watch(const Watch&) = delete;
    Watch(Watch&&) = delete;
    Watch& operator=(const Watch&) = delete;
    Watch& operator=(Watch&&) = delete;

    void wait(std::chrono::milliseconds longest) const {
        pollfd waiting{descriptor_, POLLIN, 0};
        poll(&waiting, 1, static_cast<int>(longest.count()));
        alignas(inotify_event) std::array<char, 4096> news{};
        while (::read(descriptor_, news.data(), news.size()) > 0) {
        }
    }

  private:
    int descriptor_;
};

// The next event of a set, if it has come. An event goes to every registered GPU's set once.
std::optional<EventData> next_event(const State& state, EventSet& set) {
    for (const Event& event : state.events) {
        if (event.serial <= set.heard) {
            continue;
        }
        set.heard = event.serial;
        const bool wanted =
            std::ranges::any_of(set.registrations, [&event](const Registration& registration) {
                return registration.gpu == event.gpu && (registration.types & event.type) != 0;
            });
        if (wanted) {
            return EventData{device_handle(state, event.gpu), event.type, event.data, event.gpu_instance,
                             event.compute_instance};
        }
    }
    for (const Registration& registration : set.registrations) {
        if (state.gpus[registration.gpu].lost) {
            throw Refusal{Return::gpu_is_lost};
        }
    }
    return std::nullopt;
}

}  // namespace

NOS_NVML_EXPORT Return nvmlEventSetCreate(EventSetHandle* set) {
    return read("nvmlEventSetCreate", [=](const Configuration&, const State& state) {
        EventSets& all = event_sets();
        const std::scoped_lock held(all.mutex);
        const EventSetHandle handle{++all.last};
        all.sets[handle].heard = state.serial;
        required(set) = handle;
    });
}

NOS_NVML_EXPORT Return nvmlEventSetFree(EventSetHandle set) {
    return read("nvmlEventSetFree", [=](const Configuration&, const State&) {
        EventSets& all = event_sets();
        const std::scoped_lock held(all.mutex);
        if (all.sets.erase(set) == 0) {
            throw Refusal{Return::invalid_argument};
        }
    });
}

NOS_NVML_EXPORT Return nvmlDeviceGetSupportedEventTypes(Device device, std::uint64_t* types) {
    return read("nvmlDeviceGetSupportedEventTypes", [=](const Configuration&, const State& state) {
        resolve_gpu(state, device);
        required(types) = supported_types;
    });
}

NOS_NVML_EXPORT Return nvmlDeviceRegisterEvents(Device device, std::uint64_t types, EventSetHandle set) {
    return read("nvmlDeviceRegisterEvents", [=](const Configuration&, const State& state) {
        const unsigned gpu = resolve_gpu(state, device);
        if ((types & ~supported_types) != 0) {
            throw Refusal{Return::not_supported};
        }
        EventSets& all = event_sets();
        const std::scoped_lock held(all.mutex);
        EventSet& found = find(all, set);
        if (found.registrations.empty()) {
            found.heard = state.serial;
        }
        found.registrations.push_back({gpu, types});
    });
}

NOS_NVML_EXPORT Return nvmlEventSetWait_v2(EventSetHandle set, EventData* data, unsigned timeout_ms) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
    std::optional<Watch> watch;
    // The watch begins before the first look: an event that comes in between is seen, not slept over.
    const Return started =
        read("nvmlEventSetWait", [&watch](const Configuration&, const State&) { watch.emplace(); });
    if (started != Return::success) {
        return started;
    }
    while (true) {
        bool found = false;
        const Return result = read(no_function, [&](const Configuration&, const State& state) {
            EventSets& all = event_sets();
            const std::scoped_lock held(all.mutex);
            if (const std::optional<EventData> event = next_event(state, find(all, set))) {
                required(data) = *event;
                found = true;
            }
        });
        if (result != Return::success || found) {
            return result;
        }
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
            deadline - std::chrono::steady_clock::now());
        if (left.count() <= 0) {
            return Return::timeout;
        }
        watch->wait(left);
    }
}
