// A Cluster as edits: those that make an equal one out of an empty one.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "cluster.h"

namespace nos {

// Who is told edits, each named as the method of Cluster that makes it. What is told is good for the call.
class EditSink {
  public:
    EditSink() = default;
    virtual ~EditSink() = default;
    EditSink(const EditSink&) = delete;
    EditSink& operator=(const EditSink&) = delete;
    EditSink(EditSink&&) = delete;
    EditSink& operator=(EditSink&&) = delete;

    virtual void upsert_namespace(std::string_view name, const Labels& labels) = 0;
    virtual void upsert_quota(std::string_view name, const QuotaSpec& spec) = 0;
    virtual void remove_quota(std::string_view name) = 0;
    virtual void set_habit(std::string_view name, std::int64_t habit) = 0;
    virtual void upsert_gang(std::string_view name, const GangSpec& spec) = 0;
    virtual void upsert_budget(std::string_view name, const PodSelector& selector, std::int64_t allowed) = 0;
    virtual void upsert_node(std::string_view name, const std::shared_ptr<const NodeSpec>& spec) = 0;
    virtual void upsert_pod(std::string_view uid, const PodRecord& record) = 0;
    virtual void remove_pod(std::string_view uid) = 0;
    virtual void restore(std::string_view uid, std::string_view node, const Pod& pod) = 0;
    virtual void hold(std::string_view uid, std::string_view node) = 0;
    virtual void protect(std::string_view uid) = 0;
    virtual void set_demand(const Demand& demand) = 0;
};

// Everything that decides, orders and numbers too where somebody is the first; but not which nodes are to go:
// only a copy has such. Throws std::logic_error while a Transaction is open.
void list_edits(const Cluster& cluster, EditSink& sink);

}  // namespace nos
