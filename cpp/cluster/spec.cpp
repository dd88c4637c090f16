#include "spec.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <functional>
#include <stdexcept>
#include <tuple>

namespace nos {

namespace {

void mix(std::size_t& seed, std::size_t value) {
    seed ^= value + 0x9e3779b97f4a7c15ULL + (seed << 6U) + (seed >> 2U);
}

void mix(std::size_t& seed, std::string_view text) { mix(seed, std::hash<std::string_view>{}(text)); }

void mix_selector(std::size_t& seed, std::string_view topology_key, const PodSelector& selector) {
    mix(seed, topology_key);
    for (const std::string& name : selector.namespaces) {
        mix(seed, name);
    }
    for (const Requirement& requirement : selector.labels.value_or(std::vector<Requirement>{})) {
        mix(seed, requirement.key);
        for (const std::string& value : requirement.values) {
            mix(seed, value);
        }
    }
}

constexpr std::size_t image_digits = 16;

bool any_address(const std::string& address) { return address.empty() || address == "0.0.0.0"; }

}  // namespace

Quantities::Quantities(const Amounts& amounts) {
    for (const auto& [name, amount] : amounts) {
        if (amount < 0 || amount > most_of_anything) {
            throw std::invalid_argument(name + ": " + std::to_string(amount) + " is not between 0 and 2^50");
        }
        const auto* const found = std::ranges::find(basic_names, name);
        if (found != basic_names.end()) {
            basic[static_cast<std::size_t>(found - basic_names.begin())] = amount;
        } else if (name == pods_resource) {
            pods = amount;
        } else if (name == gpu_resource) {
            gpus = amount;
        } else {
            extended.emplace_back(name, amount);
        }
    }
}

bool HostPort::conflicts(const HostPort& other) const {
    return port == other.port && protocol == other.protocol &&
           (address == other.address || any_address(address) || any_address(other.address));
}

bool names_profile(std::string_view resource_suffix, std::string_view profile) {
    return std::ranges::equal(resource_suffix, profile, [](char of_resource, char of_profile) {
        return of_resource == of_profile || (of_profile == '+' && of_resource == '.');
    });
}

std::int64_t PodSpec::instances() const {
    std::int64_t sum = 0;
    for (const ProfileRequest& request : profiles) {
        sum += request.count;
    }
    return sum;
}

void PodSpec::settle() {
    std::erase_if(requests.extended, [](const auto& request) { return request.second == 0; });
    profiles.clear();
    for (std::size_t index = 0; index < requests.extended.size(); ++index) {
        const auto& [name, amount] = requests.extended[index];
        if (name.starts_with(mig_prefix)) {
            profiles.push_back({name.substr(mig_prefix.size()), amount, index});
        }
    }
    if (gpu_share_milli < 0 || gpu_share_milli >= whole_gpu) {
        throw std::invalid_argument("gpu_share_milli: " + std::to_string(gpu_share_milli) +
                                    " is not between 0 and 999");
    }
    if (gpu_share_milli > 0 && requests.gpus > 0) {
        throw std::invalid_argument("gpu_share_milli and nvidia.com/gpu exclude each other");
    }
    std::ranges::sort(volumes);
    const auto repeated = std::ranges::unique(volumes);
    volumes.erase(repeated.begin(), repeated.end());
    const auto names_a_key = [](const auto& term) { return !term.topology_key.empty(); };
    const auto one_names_a_key = [&](const WeightedPodTerm& preferred) {
        return names_a_key(preferred.term);
    };
    if (!std::ranges::all_of(pod_affinity, names_a_key) || !std::ranges::all_of(spread, names_a_key) ||
        !std::ranges::all_of(pod_anti_affinity, names_a_key) ||
        !std::ranges::all_of(preferred_pod_affinity, one_names_a_key)) {
        throw std::invalid_argument("a topology key is missing");
    }
    for (const SpreadConstraint& constraint : spread) {
        if (constraint.max_skew < 1 || constraint.min_domains < 1) {
            throw std::invalid_argument("max_skew and min_domains must be at least 1");
        }
    }
    for (const HostPort& host_port : host_ports) {
        if (host_port.port < 1 || host_port.port > 65'535) {
            throw std::invalid_argument("host port " + std::to_string(host_port.port) +
                                        " is not between 1 and 65535");
        }
    }
}

std::size_t PodSpec::hash() const {
    auto seed = static_cast<std::size_t>(gpu_share_milli);
    for (const std::int64_t amount : requests.basic) {
        mix(seed, static_cast<std::size_t>(amount));
    }
    mix(seed, static_cast<std::size_t>(requests.gpus));
    for (const auto& [name, amount] : requests.extended) {
        mix(seed, name);
        mix(seed, static_cast<std::size_t>(amount));
    }
    for (const auto& [key, value] : node_selector) {
        mix(seed, key);
        mix(seed, value);
    }
    for (const SelectorTerm& term : affinity.value_or(std::vector<SelectorTerm>{})) {
        for (const auto* requirements : {&term.expressions, &term.fields}) {
            for (const Requirement& requirement : *requirements) {
                mix(seed, requirement.key);
                for (const std::string& value : requirement.values) {
                    mix(seed, value);
                }
            }
        }
    }
    for (const Toleration& toleration : tolerations) {
        mix(seed, toleration.key);
    }
    for (const HostPort& host_port : host_ports) {
        mix(seed, static_cast<std::size_t>(host_port.port));
    }
    for (const auto* terms : {&pod_affinity, &pod_anti_affinity}) {
        for (const PodTerm& term : *terms) {
            mix_selector(seed, term.topology_key, term.selector);
        }
    }
    for (const WeightedPodTerm& preferred : preferred_pod_affinity) {
        mix_selector(seed, preferred.term.topology_key, preferred.term.selector);
    }
    for (const SpreadConstraint& constraint : spread) {
        mix_selector(seed, constraint.topology_key, constraint.selector);
    }
    for (const Attachment& volume : volumes) {
        mix(seed, volume.handle);
    }
    for (const auto* texts : {&unsupported, &features, &images, &sole_claims}) {
        for (const std::string& text : *texts) {
            mix(seed, text);
        }
    }
    mix(seed, waits_for);
    return seed;
}

bool GpuSpec::operator==(const GpuSpec& other) const {
    const bool same_model =
        model == other.model || (model != nullptr && other.model != nullptr && *model == *other.model);
    return same_model &&
           std::tie(mig, ready, healthy, fixed, pod, instances) ==
               std::tie(other.mig, other.ready, other.healthy, other.fixed, other.pod, other.instances);
}

std::uint64_t image_hash(std::string_view name) {
    std::uint64_t hash = 0;
    const char* const end = name.data() + name.size();
    if (name.size() == 1 + image_digits && name.front() == '#' &&
        std::from_chars(name.data() + 1, end, hash, 16).ptr == end) {
        return hash;
    }
    hash = 14695981039346656037ULL;  // FNV-1a: the same on every platform, as names may come from another one
    for (const char c : name) {
        hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
    }
    return hash;
}

std::string image_name(std::uint64_t hash) {
    std::array<char, image_digits> digits{};
    const auto* const end = std::to_chars(digits.data(), digits.data() + digits.size(), hash, 16).ptr;
    const auto count = static_cast<std::size_t>(end - digits.data());
    return "#" + std::string(image_digits - count, '0') + std::string{digits.data(), count};
}

bool NodeSpec::has_gpus() const {
    return allocatable.gpus > 0 || std::ranges::any_of(allocatable.extended, [](const auto& entry) {
               return entry.first.starts_with(slice_prefix);
           });
}

void NodeSpec::validate() const {
    if (gpu_memory_gb < 0 || gpu_memory_gb > 1'000'000) {
        throw std::invalid_argument("gpu_memory_gb: " + std::to_string(gpu_memory_gb) +
                                    " is not between 0 and 1000000");
    }
    if (allocatable.gpus > most_gpus) {
        throw std::invalid_argument("nvidia.com/gpu: " + std::to_string(allocatable.gpus) + " is more than " +
                                    std::to_string(most_gpus));
    }
    if (!gpus.empty() && std::cmp_not_equal(gpus.size(), allocatable.gpus)) {
        throw std::invalid_argument("gpus: " + std::to_string(gpus.size()) +
                                    " are described, nvidia.com/gpu is " + std::to_string(allocatable.gpus));
    }
    for (const GpuSpec& gpu : gpus) {
        std::vector<mig::Placement> placements;
        for (const InstanceSpec& instance : gpu.instances) {
            placements.push_back(instance.placement);
        }
        if (!placements.empty() && (gpu.model == nullptr || !gpu.mig || !gpu.model->of(placements))) {
            throw std::invalid_argument("gpus: the instances on one of them cannot be together there");
        }
    }
    for (const Taint& taint : taints) {
        if (taint.effect == Effect::any) {
            throw std::invalid_argument("taint " + taint.key + ": an effect is missing");
        }
    }
}

}  // namespace nos
