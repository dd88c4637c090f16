#include "doors.h"

#include <algorithm>

namespace nos {

namespace {

constexpr std::int64_t scale = 1LL << 30;
constexpr std::int64_t background =
    Demand::one_pod / 8;                // of every profile, so that unknown ones keep their doors
constexpr std::int64_t noticeable = 8;  // an eighth

bool moved(std::int64_t before, std::int64_t now) { return std::abs(now - before) > before / noticeable; }

}  // namespace

bool Doors::learn(const Cluster& cluster) {
    bool any_moved = false;
    const Demand& demand = cluster.demand();
    std::int64_t whole = 0;
    for (const Demand::Count& entry : demand.counts()) {
        whole += entry.count * entry.demand.gpus;
    }
    for (const ModelRoom& room : cluster.model_rooms()) {
        const mig::Model& model = room.model->model();
        Prices prices{room.model, {}, {}, 0};
        std::vector<std::int64_t>& wanted = prices.wanted;
        std::int64_t total = whole + background;
        for (const mig::Profile& profile : model.profiles) {
            wanted.push_back(demand.instances_of(profile.name) + background);
            total += wanted.back();
        }
        const auto price = [&](std::int64_t of_demand, std::int64_t units, std::int64_t left) {
            return scale / total * of_demand * units / (left + 1);
        };
        for (std::size_t i = 0; i < wanted.size(); ++i) {
            prices.of_room.push_back(price(wanted[i], model.profiles[i].size, room.room[i]));
        }
        prices.of_empty_gpu = price(whole + background, model.units, room.empty_gpus);

        const auto known = std::ranges::find(prices_, room.model, &Prices::model);
        if (known == prices_.end()) {
            prices_.push_back(std::move(prices));
            any_moved = true;
        } else if (moved(known->of_empty_gpu, prices.of_empty_gpu) ||
                   !std::ranges::equal(known->of_room, prices.of_room,
                                       [](std::int64_t a, std::int64_t b) { return !moved(a, b); })) {
            *known = std::move(prices);
            any_moved = true;
        }
    }
    return any_moved;
}

std::int64_t Doors::stranded_milli(const mig::States& model, mig::StateId state) const {
    const auto known =
        std::ranges::find_if(prices_, [&](const Prices& prices) { return prices.model.get() == &model; });
    if (known == prices_.end()) {
        return 0;
    }
    std::int64_t stranded = 0;
    std::int64_t demand = 1;  // of so many that one more changes nothing
    for (std::size_t profile = 0; profile < known->wanted.size(); ++profile) {
        const std::int64_t usable =
            std::int64_t{model.room(state, profile)} * model.model().profiles[profile].size;
        stranded += known->wanted[profile] * (model.free_units(state) - usable);
        demand += known->wanted[profile];
    }
    return stranded * whole_gpu / (demand * model.model().units);
}

std::int64_t Doors::loss(const mig::States& model, mig::StateId before, mig::StateId after) const {
    const auto known =
        std::ranges::find_if(prices_, [&](const Prices& prices) { return prices.model.get() == &model; });
    if (known == prices_.end()) {
        return 0;
    }
    std::int64_t loss = before == 0 ? known->of_empty_gpu : 0;
    for (std::size_t profile = 0; profile < known->of_room.size(); ++profile) {
        loss += known->of_room[profile] * (model.room(before, profile) - model.room(after, profile));
    }
    return loss;
}

}  // namespace nos
