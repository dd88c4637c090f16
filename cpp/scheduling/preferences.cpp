#include "preferences.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace nos {

namespace {

using Role = Neighbours::Tally::Role;

// kube-scheduler's: each score is from 0 to 100, times the default weight of its plugin.
constexpr std::int64_t best_score = 100;
constexpr std::int64_t taint_weight = 3;
constexpr std::int64_t affinity_weight = 2;
constexpr std::int64_t spread_weight = 2;
constexpr std::int64_t pods_weight = 2;
constexpr std::int64_t images_weight = 1;
constexpr std::int64_t least_image = 23LL << 20;   // below that an image is quickly there
constexpr std::int64_t most_image = 1000LL << 20;  // per image
constexpr std::int64_t fraction = 1024;            // fixed point of spread scores
constexpr std::int64_t remembered_scores = 1 << 12;

template <class Value>
void set_counted(Table<NodeId, Value>& table, NodeId id, Value value, std::size_t& nodes) {
    if (id.value() >= table.size()) {
        if (value == Value{}) {
            return;
        }
        table.resize(id.value() + std::size_t{1});
    }
    nodes -= table[id] != Value{} ? 1U : 0U;
    nodes += value != Value{} ? 1U : 0U;
    table[id] = value;
}

// Adds weight * score(raw) to each; raw values are few, so that each is divided once.
template <class Score>
void add_scores(std::vector<std::int64_t>& totals, const std::vector<std::int64_t>& raw, std::int64_t weight,
                Score score) {
    const auto [least, most] = std::ranges::minmax(raw);
    if (most - least >= remembered_scores) {
        for (std::size_t i = 0; i < raw.size(); ++i) {
            totals[i] += weight * score(raw[i]);
        }
        return;
    }
    std::vector<std::int64_t> scores(static_cast<std::size_t>(most - least) + 1, -1);
    for (std::size_t i = 0; i < raw.size(); ++i) {
        std::int64_t& known = scores[static_cast<std::size_t>(raw[i] - least)];
        if (known < 0) {
            known = score(raw[i]);
        }
        totals[i] += weight * known;
    }
}

template <class Value>
std::vector<std::int64_t> gather(const Table<NodeId, Value>& table, const std::vector<NodeId>& nodes) {
    std::vector<std::int64_t> raw;
    raw.reserve(nodes.size());
    for (const NodeId id : nodes) {
        raw.push_back(id.value() < table.size() ? table[id] : 0);
    }
    return raw;
}

}  // namespace

void Preferences::look_at(const Cluster& cluster, NodeId id) {
    const Node& node = cluster.node(id);
    std::int32_t taints = 0;
    std::int32_t affinity = 0;
    std::vector<Hit> hits;
    if (node.present()) {
        for (const Taint& taint : node.spec->taints) {
            taints +=
                taint.effect == Effect::prefer_no_schedule && !tolerated(taint, spec_->tolerations) ? 1 : 0;
        }
        for (const PreferredTerm& preferred : spec_->preferred_affinity) {
            affinity += preferred.term.matches(node.spec->labels, cluster.name(id)) ? preferred.weight : 0;
        }
        for (std::uint32_t image = 0; image < spec_->images.size() && !node.spec->images.empty(); ++image) {
            const std::uint64_t hash = image_hash(spec_->images[image]);
            const auto found = std::ranges::lower_bound(node.spec->images, hash, {}, &ImageSpec::name_hash);
            if (found != node.spec->images.end() && found->name_hash == hash) {
                hits.push_back({image, found->bytes});
            }
        }
    }
    set_counted(taints_, id, taints, tainted_);
    set_counted(affinity_, id, affinity, preferred_);
    if (id.value() >= hits_.size()) {
        if (hits.empty()) {
            return;
        }
        hits_.resize(id.value() + std::size_t{1});
    }
    image_nodes_.resize(spec_->images.size());
    for (const Hit& hit : hits_[id]) {
        --image_nodes_[hit.image];
    }
    for (const Hit& hit : hits) {
        ++image_nodes_[hit.image];
    }
    with_images_ -= hits_[id].empty() ? 0U : 1U;
    with_images_ += hits.empty() ? 0U : 1U;
    hits_[id] = std::move(hits);
}

bool Preferences::none(const Neighbours* neighbours) const {
    const auto prefers = [&](const Neighbours::Tally& tally) {
        return tally.role == Role::preference ||
               (tally.role == Role::spread && !neighbours->constraint(tally).required);
    };
    return tainted_ == 0 && preferred_ == 0 && with_images_ == 0 &&
           (neighbours == nullptr || std::ranges::none_of(neighbours->tallies(), prefers));
}

NodeId Preferences::choose(const Cluster& cluster, const Neighbours* neighbours,
                           const std::vector<NodeId>& feasible, const std::vector<NodeId>& candidates) {
    std::vector<std::int64_t> totals(feasible.size());
    if (tainted_ > 0) {
        const Raw raw = gather(taints_, feasible);
        const std::int64_t most = std::max<std::int64_t>(1, std::ranges::max(raw));
        add_scores(totals, raw, taint_weight,
                   [&](std::int64_t taints) { return best_score - best_score * taints / most; });
    }
    if (preferred_ > 0) {
        const Raw raw = gather(affinity_, feasible);
        const std::int64_t most = std::max<std::int64_t>(1, std::ranges::max(raw));
        add_scores(totals, raw, affinity_weight, [&](std::int64_t weight) {
            return std::max<std::int64_t>(0, best_score * weight / most);
        });
    }
    if (with_images_ > 0) {
        add_scores(totals, of_images(cluster, feasible), images_weight,
                   [](std::int64_t score) { return score; });
    }
    if (neighbours != nullptr) {
        const Raw pods = of_pods(cluster, *neighbours, feasible);
        if (const auto [least, most] = std::ranges::minmax(pods); most > least) {
            add_scores(totals, pods, pods_weight, [&, low = least, high = most](std::int64_t weight) {
                return best_score * (weight - low) / (high - low);
            });
        }
        const Raw spread = of_spread(cluster, *neighbours, spec_->spread_by_default, feasible);
        std::int64_t least = std::numeric_limits<std::int64_t>::max();
        for (const std::int64_t pods_there : spread) {
            least = pods_there >= 0 ? std::min(least, pods_there) : least;
        }
        if (!spread.empty()) {
            const std::int64_t most = std::ranges::max(spread);
            add_scores(totals, spread, spread_weight, [&](std::int64_t pods_there) {
                if (pods_there < 0 || most <= 0) {
                    return pods_there < 0 ? std::int64_t{0} : best_score;
                }
                return best_score * (most + least - pods_there) / most;
            });
        }
    }
    NodeId best;
    std::int64_t highest = -1;
    std::size_t at = 0;
    for (const NodeId candidate : candidates) {
        while (feasible[at] != candidate) {
            ++at;
        }
        if (totals[at] > highest) {
            highest = totals[at];
            best = candidate;
        }
    }
    return best;
}

Preferences::Raw Preferences::of_images(const Cluster& cluster, const std::vector<NodeId>& feasible) const {
    const auto nodes = static_cast<std::int64_t>(cluster.node_count());
    const std::int64_t most = most_image * static_cast<std::int64_t>(spec_->images.size());
    Raw raw;
    raw.reserve(feasible.size());
    for (const NodeId id : feasible) {
        std::int64_t sum = 0;
        if (id.value() < hits_.size()) {
            for (const Hit& hit : hits_[id]) {  // an image that few nodes have draws less
                sum += (hit.bytes >> 10) * image_nodes_[hit.image] / nodes << 10;
            }
        }
        raw.push_back(best_score * (std::clamp(sum, least_image, most) - least_image) / (most - least_image));
    }
    return raw;
}

Preferences::Raw Preferences::of_pods(const Cluster& cluster, const Neighbours& neighbours,
                                      const std::vector<NodeId>& feasible) {
    Raw raw(feasible.size());
    for (const Neighbours::Tally& tally : neighbours.tallies()) {
        if (tally.role != Role::preference) {
            continue;
        }
        const Topology& topology = cluster.topology(tally.topology);
        for (std::size_t i = 0; i < feasible.size(); ++i) {
            const DomainId domain = topology.domain(feasible[i]);
            if (domain.valid() && domain.value() < tally.counts.size()) {
                raw[i] += tally.counts[domain];
            }
        }
    }
    return raw;
}

Preferences::Raw Preferences::of_spread(const Cluster& cluster, const Neighbours& neighbours, bool by_default,
                                        const std::vector<NodeId>& feasible) {
    std::vector<const Neighbours::Tally*> tallies;
    for (const Neighbours::Tally& tally : neighbours.tallies()) {
        if (tally.role == Role::spread && !neighbours.constraint(tally).required) {
            tallies.push_back(&tally);
        }
    }
    if (tallies.empty()) {
        return {};
    }
    Raw raw(feasible.size());
    std::size_t scored = feasible.size();
    if (!by_default) {
        for (std::size_t i = 0; i < feasible.size(); ++i) {
            const auto lacks_key = [&](const Neighbours::Tally* tally) {
                return !cluster.topology(tally->topology).domain(feasible[i]).valid();
            };
            if (std::ranges::any_of(tallies, lacks_key)) {
                raw[i] = -1;
                --scored;
            }
        }
    }
    for (const Neighbours::Tally* tally : tallies) {
        const Topology& topology = cluster.topology(tally->topology);
        std::size_t size = scored;
        if (!tally->by_node) {
            std::vector<bool> seen(topology.bound());
            size = 0;
            for (std::size_t i = 0; i < feasible.size(); ++i) {
                const DomainId domain = topology.domain(feasible[i]);
                if (raw[i] >= 0 && domain.valid() && !seen[domain.value()]) {
                    seen[domain.value()] = true;
                    ++size;
                }
            }
        }
        // Many small domains weigh more than few large ones.
        const std::int64_t weight =
            std::llround(std::log(static_cast<double>(size + 2)) * static_cast<double>(fraction));
        const std::int64_t tolerance = (neighbours.constraint(*tally).max_skew - 1) * fraction;
        for (std::size_t i = 0; i < feasible.size(); ++i) {
            const DomainId domain = topology.domain(feasible[i]);
            if (raw[i] < 0 || !domain.valid()) {
                continue;
            }
            std::int64_t pods = 0;
            if (tally->by_node) {
                pods = tally->of_node[feasible[i]];
            } else if (domain.value() < tally->counts.size()) {
                pods = tally->counts[domain];
            }
            raw[i] += pods * weight + tolerance;
        }
    }
    for (std::int64_t& each : raw) {
        each = each < 0 ? each : (each + fraction / 2) / fraction;
    }
    return raw;
}

}  // namespace nos
