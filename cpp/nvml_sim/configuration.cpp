#include "configuration.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "words.h"

namespace nos::nvml_sim {
namespace {

Mig parse_mig(std::string_view word) {
    if (word == "none") {
        return Mig::none;
    }
    if (word == "by-reset") {
        return Mig::by_reset;
    }
    if (word == "live") {
        return Mig::live;
    }
    throw std::invalid_argument("unknown way to switch MIG: " + std::string(word));
}

Engines parse_engines(Words& words) {
    Engines engines;
    engines.copy = words.number();
    engines.decoder = words.number();
    engines.encoder = words.number();
    engines.jpeg = words.number();
    engines.ofa = words.number();
    return engines;
}

Model parse_model(Words& words) {
    Model model;
    model.id = words.word();
    model.architecture = words.number();
    model.compute_major = words.number();
    model.compute_minor = words.number();
    model.pci_device = words.number();
    model.memory_mib = words.number();
    model.mig = parse_mig(words.word());
    model.units = words.number();
    model.slices = words.number();
    model.name = words.rest();
    return model;
}

Profile parse_profile(Words& words) {
    Profile profile{};
    profile.enumerator = words.number();
    profile.id = words.number();
    profile.slices = words.number();
    profile.size = words.number();
    profile.memory_mib = words.number();
    profile.max_instances = words.number();
    profile.multiprocessors = words.number();
    profile.engines = parse_engines(words);
    profile.full_compute_enum = words.number();
    profile.starts = words.numbers();
    profile.preferred = words.numbers();
    profile.name = words.rest();
    return profile;
}

void limit_engine(Engines& totals, std::string_view name, unsigned total) {
    if (name == "copy") {
        totals.copy = total;
    } else if (name == "decoder") {
        totals.decoder = total;
    } else if (name == "encoder") {
        totals.encoder = total;
    } else if (name == "jpeg") {
        totals.jpeg = total;
    } else if (name == "ofa") {
        totals.ofa = total;
    } else {
        throw std::invalid_argument("unknown engine: " + std::string(name));
    }
}

Gpu parse_gpu(Words& words, const std::vector<Model>& models) {
    Gpu gpu{};
    gpu.uuid = words.word();
    gpu.pci_bus_id = words.word();
    gpu.reset_needs_reboot = words.flag();
    const std::string_view id = words.word();
    const auto model = std::ranges::find(models, id, &Model::id);
    if (model == models.end()) {
        throw std::invalid_argument("a GPU of an unknown model: " + std::string(id));
    }
    gpu.model = static_cast<std::size_t>(model - models.begin());
    return gpu;
}

}  // namespace

Configuration parse_configuration(std::string_view text) {
    Configuration result;
    for_each_line(text, [&result](Words words) {
        const std::string_view what = words.word();
        if (what == "driver") {
            result.driver = words.word();
        } else if (what == "cuda") {
            result.cuda = words.number();
        } else if (what == "compute-profile") {
            const unsigned enumerator = words.number();
            const unsigned id = words.number();
            result.compute_profiles.push_back({enumerator, id, words.number()});
        } else if (what == "model") {
            result.models.push_back(parse_model(words));
        } else if (what == "engine") {
            const std::string_view name = words.word();
            limit_engine(result.models.at(result.models.size() - 1).engine_totals, name, words.number());
        } else if (what == "profile") {
            result.models.at(result.models.size() - 1).profiles.push_back(parse_profile(words));
        } else if (what == "gpu") {
            result.gpus.push_back(parse_gpu(words, result.models));
        } else {
            throw std::invalid_argument("unknown line: " + std::string(what));
        }
    });
    return result;
}

}  // namespace nos::nvml_sim
