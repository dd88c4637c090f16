#include "load.h"

namespace nos {

void Load::add(const Load& other) {
    gpu += other.gpu;
    cpu += other.cpu;
    memory += other.memory;
}

Load load_of(const Cluster& cluster, PodId id) {
    const Pod& pod = cluster.pod(id);
    const PodSpec& spec = *cluster.spec(pod.spec).spec;
    Load load{spec.gpu_slots() * spec.gpu_slot_milli(),
              spec.requests.basic[static_cast<std::size_t>(Basic::cpu)],
              spec.requests.basic[static_cast<std::size_t>(Basic::memory)]};
    for (const Held& held : pod.instances) {
        const mig::Model& model = cluster.node(pod.node).spec->gpus[held.gpu].model->model();
        load.gpu += model.profiles[held.placement.profile].size * whole_gpu / model.units;
    }
    return load;
}

}  // namespace nos
