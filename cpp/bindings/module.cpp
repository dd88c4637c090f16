// nos._core: spelling only, no logic.
#include "bind.h"

PYBIND11_MODULE(_core, module) {
    nos::bind_mig(module);
    nos::bind_specs(module);
    nos::bind_cluster(module);
    nos::bind_gangs(module);
    nos::bind_scheduling(module);
}
