#include <pybind11/operators.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <map>
#include <string>

#include "bind.h"

namespace py = pybind11;

namespace nos {

namespace {

using Mapping = std::map<std::string, std::int64_t>;
using LabelMap = std::map<std::string, std::string>;

Quantities quantities(const Mapping& amounts) { return Quantities{Amounts{amounts.begin(), amounts.end()}}; }

Labels labels(const LabelMap& map) { return {map.begin(), map.end()}; }

using NamedAttachment = std::pair<std::string, std::string>;  // driver, handle

std::vector<Attachment> attachments(const std::vector<NamedAttachment>& named) {
    std::vector<Attachment> result;
    for (const auto& [driver, handle] : named) {
        result.push_back({driver, handle});
    }
    std::ranges::sort(result);
    const auto repeated = std::ranges::unique(result);
    result.erase(repeated.begin(), repeated.end());
    return result;
}

PodSpecHandle pod_spec(const Mapping& requests, std::int32_t gpu_share_milli, const LabelMap& node_selector,
                       std::optional<std::vector<SelectorTerm>> affinity,
                       const std::vector<std::pair<std::int32_t, SelectorTerm>>& preferred_affinity,
                       std::vector<Toleration> tolerations, std::vector<HostPort> host_ports,
                       std::vector<std::string> features, std::vector<std::string> images,
                       std::vector<PodTerm> pod_affinity, std::vector<PodTerm> pod_anti_affinity,
                       const std::vector<std::pair<std::int32_t, PodTerm>>& preferred_pod_affinity,
                       std::vector<SpreadConstraint> spread, bool spread_by_default,
                       std::vector<std::vector<SelectorTerm>> volume_affinity,
                       std::vector<VolumeClaim> claims, std::vector<std::string> sole_claims,
                       const std::vector<NamedAttachment>& volumes, std::string waits_for,
                       std::vector<std::string> unsupported) {
    auto spec = std::make_shared<PodSpec>();
    spec->requests = quantities(requests);
    spec->gpu_share_milli = gpu_share_milli;
    spec->node_selector = labels(node_selector);
    spec->affinity = std::move(affinity);
    for (const auto& [weight, term] : preferred_affinity) {
        spec->preferred_affinity.push_back({weight, term});
    }
    spec->tolerations = std::move(tolerations);
    spec->host_ports = std::move(host_ports);
    spec->features = std::move(features);
    spec->images = std::move(images);
    spec->pod_affinity = std::move(pod_affinity);
    spec->pod_anti_affinity = std::move(pod_anti_affinity);
    for (const auto& [weight, term] : preferred_pod_affinity) {
        spec->preferred_pod_affinity.push_back({weight, term});
    }
    spec->spread = std::move(spread);
    spec->spread_by_default = spread_by_default;
    spec->volume_affinity = std::move(volume_affinity);
    spec->claims = std::move(claims);
    spec->sole_claims = std::move(sole_claims);
    spec->volumes = attachments(volumes);
    spec->waits_for = std::move(waits_for);
    spec->unsupported = std::move(unsupported);
    spec->settle();
    return {std::move(spec)};
}

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

void bind_selectors(const py::module_& module) {
    py::class_<Requirement>(module, "Requirement")
        .def(py::init([](std::string key, std::string_view op, std::vector<std::string> values) {
                 return Requirement{std::move(key), parse_operator(op), std::move(values)};
             }),
             py::arg("key"), py::arg("operator"), py::arg("values") = std::vector<std::string>{});
    py::class_<SelectorTerm>(module, "SelectorTerm")
        .def(py::init([](std::vector<Requirement> expressions, std::vector<Requirement> fields) {
                 return SelectorTerm{std::move(expressions), std::move(fields)};
             }),
             py::arg("expressions") = std::vector<Requirement>{},
             py::arg("fields") = std::vector<Requirement>{});
    py::class_<Taint>(module, "Taint")
        .def(py::init([](std::string key, std::string value, std::string_view effect) {
                 return Taint{std::move(key), std::move(value), parse_effect(effect)};
             }),
             py::arg("key"), py::arg("value") = "", py::arg("effect") = "NoSchedule");
    py::class_<Toleration>(module, "Toleration")
        .def(py::init([](std::string key, std::string_view op, std::string value, std::string_view effect) {
                 if (op != "Exists" && op != "Equal" && !op.empty()) {
                     throw py::value_error("operator must be Equal or Exists, not '" + std::string{op} + "'");
                 }
                 return Toleration{std::move(key), op == "Exists", std::move(value), parse_effect(effect)};
             }),
             py::arg("key") = "", py::arg("operator") = "Equal", py::arg("value") = "",
             py::arg("effect") = "");
    py::class_<PodLabelsHandle>(module, "PodLabels")
        .def(py::init([](std::string namespace_name, const LabelMap& map) {
                 return PodLabelsHandle{std::make_shared<PodLabels>(std::move(namespace_name), labels(map))};
             }),
             py::arg("namespace") = "", py::arg("labels") = LabelMap{})
        .def(
            "__eq__", [](const PodLabelsHandle& a, const PodLabelsHandle& b) { return *a.value == *b.value; },
            py::is_operator())
        .def("__hash__", [](const PodLabelsHandle& labels) { return labels.value->hash(); });
    py::class_<PodSelector>(module, "PodSelector")
        .def(py::init([](Requirements labels, std::vector<std::string> namespaces,
                         Requirements namespace_labels) {
                 std::ranges::sort(namespaces);
                 return PodSelector{std::move(labels), std::move(namespaces), std::move(namespace_labels)};
             }),
             py::arg("labels"), py::kw_only(), py::arg("namespaces") = std::vector<std::string>{},
             py::arg("namespace_labels") = py::none());
    py::class_<PodTerm>(module, "PodTerm")
        .def(py::init([](std::string topology_key, PodSelector selector) {
                 return PodTerm{std::move(topology_key), std::move(selector)};
             }),
             py::arg("topology_key"), py::arg("selector"));
    py::class_<SpreadConstraint>(module, "SpreadConstraint")
        .def(py::init([](std::string topology_key, PodSelector selector, std::int32_t max_skew,
                         std::int32_t min_domains, bool required, bool honor_affinity, bool honor_taints) {
                 return SpreadConstraint{
                     std::move(topology_key), std::move(selector), max_skew, min_domains, required,
                     honor_affinity,          honor_taints};
             }),
             py::arg("topology_key"), py::arg("selector"), py::kw_only(), py::arg("max_skew"),
             py::arg("min_domains") = 1, py::arg("required") = true, py::arg("honor_affinity") = true,
             py::arg("honor_taints") = false);
}

}  // namespace

void bind_specs(const py::module_& module) {
    bind_selectors(module);
    py::class_<VolumeClaim>(module, "VolumeClaim")
        .def(
            py::init([](std::vector<std::pair<std::string, std::optional<std::vector<SelectorTerm>>>> volumes,
                        std::optional<std::vector<std::vector<SelectorTerm>>> provision) {
                VolumeClaim claim;
                for (auto& [name, affinity] : volumes) {
                    claim.volumes.push_back({std::move(name), std::move(affinity)});
                }
                claim.provision = std::move(provision);
                claim.index = VolumeIndex{claim.volumes};
                return claim;
            }),
            py::arg("volumes") =
                std::vector<std::pair<std::string, std::optional<std::vector<SelectorTerm>>>>{},
            py::kw_only(), py::arg("provision") = py::none());
    py::class_<HostPort>(module, "HostPort")
        .def(py::init([](std::int32_t port, std::string protocol, std::string address) {
                 return HostPort{port, std::move(protocol), std::move(address)};
             }),
             py::arg("port"), py::arg("protocol") = "TCP", py::arg("address") = "0.0.0.0");
    py::class_<PodSpecHandle>(module, "PodSpec")
        .def(py::init(&pod_spec), py::arg("requests"), py::kw_only(), py::arg("gpu_share_milli") = 0,
             py::arg("node_selector") = LabelMap{}, py::arg("affinity") = py::none(),
             py::arg("preferred_affinity") = std::vector<std::pair<std::int32_t, SelectorTerm>>{},
             py::arg("tolerations") = std::vector<Toleration>{},
             py::arg("host_ports") = std::vector<HostPort>{},
             py::arg("features") = std::vector<std::string>{}, py::arg("images") = std::vector<std::string>{},
             py::arg("pod_affinity") = std::vector<PodTerm>{},
             py::arg("pod_anti_affinity") = std::vector<PodTerm>{},
             py::arg("preferred_pod_affinity") = std::vector<std::pair<std::int32_t, PodTerm>>{},
             py::arg("spread") = std::vector<SpreadConstraint>{}, py::arg("spread_by_default") = false,
             py::arg("volume_affinity") = std::vector<std::vector<SelectorTerm>>{},
             py::arg("claims") = std::vector<VolumeClaim>{},
             py::arg("sole_claims") = std::vector<std::string>{},
             py::arg("volumes") = std::vector<NamedAttachment>{}, py::arg("waits_for") = "",
             py::arg("unsupported") = std::vector<std::string>{})
        .def(
            "__eq__", [](const PodSpecHandle& a, const PodSpecHandle& b) { return *a.value == *b.value; },
            py::is_operator())
        .def("__hash__", [](const PodSpecHandle& spec) { return spec.value->hash(); });
    py::class_<GpuSpec>(module, "GpuSpec")
        .def(py::init(&gpu_spec), py::arg("model"), py::kw_only(), py::arg("mig") = false,
             py::arg("ready") = false, py::arg("healthy") = true, py::arg("fixed") = false,
             py::arg("pod") = "", py::arg("instances") = std::vector<NamedInstance>{});
    py::class_<NodeSpecHandle>(module, "NodeSpec")
        .def(py::init(&node_spec), py::arg("allocatable"), py::kw_only(), py::arg("labels") = LabelMap{},
             py::arg("taints") = std::vector<Taint>{}, py::arg("unschedulable") = false,
             py::arg("gpus") = std::vector<GpuSpec>{}, py::arg("images") = Mapping{},
             py::arg("features") = std::vector<std::string>{}, py::arg("attach_limits") = Mapping{},
             py::arg("attached") = std::vector<NamedAttachment>{},
             py::arg("by_dra") = std::vector<std::string>{}, py::arg("gpu_memory_gb") = 0)
        .def(
            "__eq__", [](const NodeSpecHandle& a, const NodeSpecHandle& b) { return *a.value == *b.value; },
            py::is_operator());
}

}  // namespace nos
