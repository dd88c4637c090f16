// nos._core: spelling only, no logic.
#include "bind.h"

PYBIND11_MODULE(_core, module) {
    nos::bind_mig(module);
    nos::bind_selectors(module);
    nos::bind_pod_spec(module);
    nos::bind_node_spec(module);
    nos::bind_cluster(module);
    nos::bind_gangs(module);
    nos::bind_edits(module);
    nos::bind_scheduling(module);
    nos::bind_scaling(module);
    nos::bind_scale_down(module);
}
