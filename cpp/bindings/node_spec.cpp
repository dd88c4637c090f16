#include <pybind11/stl.h>

#include <algorithm>
#include <string>

#include "bind.h"
#include "spec_parts.h"

namespace py = pybind11;

namespace nos {

namespace {

using NamedInstance =
    std::tuple<std::string, int, bool, std::string>;  // profile, start, ready, uid of who holds it

GpuSpec gpu_spec(const std::shared_ptr<mig::States>& model, bool mig, bool ready, bool healthy, bool fixed,
                 std::string pod, const std::vector<NamedInstance>& instances) {
    GpuSpec gpu{model, mig, ready, healthy, fixed, std::move(pod), {}};
    if (model == nullptr && !instances.empty()) {
        throw py::value_error("a GPU of no model has no instances");
    }
    for (const auto& [profile, start, instance_ready, holder] : instances) {
        gpu.instances.push_back({placement_of(*model, {profile, start}), instance_ready, holder});
    }
    return gpu;
}

NodeSpecHandle node_spec(const Mapping& allocatable, const LabelMap& label_map, std::vector<Taint> taints,
                         bool unschedulable, std::vector<GpuSpec> gpus, const Mapping& images,
                         std::vector<std::string> features, const Mapping& attach_limits,
                         const std::vector<NamedAttachment>& attached, std::vector<std::string> by_dra,
                         std::int64_t gpu_memory_gb) {
    auto spec = std::make_shared<NodeSpec>();
    spec->allocatable = quantities(allocatable);
    spec->labels = labels(label_map);
    spec->taints = std::move(taints);
    spec->unschedulable = unschedulable;
    spec->gpus = std::move(gpus);
    for (const auto& [name, bytes] : images) {
        spec->images.push_back({image_hash(name), bytes});
    }
    std::ranges::sort(spec->images);
    spec->features = std::move(features);
    std::ranges::sort(spec->features);
    spec->attach_limits = {attach_limits.begin(), attach_limits.end()};
    spec->attached = attachments(attached);
    spec->by_dra = std::move(by_dra);
    spec->gpu_memory_gb = gpu_memory_gb;
    spec->validate();
    return {std::move(spec)};
}

std::vector<NamedInstance> instances_of(const GpuSpec& gpu) {
    std::vector<NamedInstance> instances;
    for (const InstanceSpec& instance : gpu.instances) {
        const auto [profile, start] = named(*gpu.model, instance.placement);
        instances.emplace_back(profile, start, instance.ready, instance.pod);
    }
    return instances;
}

Mapping images_of(const NodeSpecHandle& node) {
    Mapping images;
    for (const ImageSpec& image : node.value->images) {
        images.emplace(image_name(image.name_hash), image.bytes);
    }
    return images;
}

}  // namespace

void bind_node_spec(const py::module_& module) {
    using Handle = NodeSpecHandle;
    py::class_<GpuSpec>(module, "GpuSpec")
        .def(py::init(&gpu_spec), py::arg("model"), py::kw_only(), py::arg("mig") = false,
             py::arg("ready") = false, py::arg("healthy") = true, py::arg("fixed") = false,
             py::arg("pod") = "", py::arg("instances") = std::vector<NamedInstance>{})
        .def_property_readonly(
            "model", [](const GpuSpec& gpu) { return std::const_pointer_cast<mig::States>(gpu.model); })
        .def_readonly("mig", &GpuSpec::mig)
        .def_readonly("ready", &GpuSpec::ready)
        .def_readonly("healthy", &GpuSpec::healthy)
        .def_readonly("fixed", &GpuSpec::fixed)
        .def_readonly("pod", &GpuSpec::pod)
        .def_property_readonly("instances", &instances_of)
        .def(equality())
        .attr("__match_args__") =
        py::make_tuple("model", "mig", "ready", "healthy", "fixed", "pod", "instances");
    py::class_<NodeSpecHandle>(module, "NodeSpec")
        .def(py::init(&node_spec), py::arg("allocatable"), py::kw_only(), py::arg("labels") = LabelMap{},
             py::arg("taints") = std::vector<Taint>{}, py::arg("unschedulable") = false,
             py::arg("gpus") = std::vector<GpuSpec>{}, py::arg("images") = Mapping{},
             py::arg("features") = std::vector<std::string>{}, py::arg("attach_limits") = Mapping{},
             py::arg("attached") = std::vector<NamedAttachment>{},
             py::arg("by_dra") = std::vector<std::string>{}, py::arg("gpu_memory_gb") = 0)
        .def_property_readonly("allocatable",
                               [](const Handle& node) { return amounts(node.value->allocatable); })
        .def_property_readonly("labels", [](const Handle& node) { return label_map(node.value->labels); })
        .def_property_readonly("taints", &part<&NodeSpec::taints, Handle>)
        .def_property_readonly("unschedulable", &part<&NodeSpec::unschedulable, Handle>)
        .def_property_readonly("gpus", &part<&NodeSpec::gpus, Handle>)
        .def_property_readonly("images", &images_of)
        .def_property_readonly("features", &part<&NodeSpec::features, Handle>)
        .def_property_readonly("attach_limits",
                               [](const Handle& node) {
                                   const auto& limits = node.value->attach_limits;
                                   return Mapping{limits.begin(), limits.end()};
                               })
        .def_property_readonly("attached", [](const Handle& node) { return named(node.value->attached); })
        .def_property_readonly("by_dra", &part<&NodeSpec::by_dra, Handle>)
        .def_property_readonly("gpu_memory_gb", &part<&NodeSpec::gpu_memory_gb, Handle>)
        .def(
            "__eq__", [](const Handle& a, const Handle& b) { return *a.value == *b.value; },
            py::is_operator())
        .attr("__match_args__") =
        py::make_tuple("allocatable", "labels", "taints", "unschedulable", "gpus", "images", "features",
                       "attach_limits", "attached", "by_dra", "gpu_memory_gb");
}

}  // namespace nos
