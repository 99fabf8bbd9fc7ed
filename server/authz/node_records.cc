// SPDX-License-Identifier: Apache-2.0

#include "server/authz/node_records.h"

#include <utility>

namespace steeple::server {
namespace {

// About 500 bytes each; beyond, all are forgotten and read again as they are needed.
constexpr std::size_t kRecordsMax = 100'000;

}  // namespace

Result<AttestedNodePtr> NodeRecords::get(const spiffe::SpiffeId& id, std::string_view serial) {
  // Before the read: what is committed meanwhile makes the stamp another one.
  const std::optional<sql::Stamp> stamp = datastore_.stamp();
  const bool keeps = stamp || staleness_max_ > Duration(0);
  const SteadyTime now = staleness_max_ > Duration(0) ? clock_.steady() : SteadyTime();
  if (keeps) {
    if (AttestedNodePtr found = find(id, serial, stamp, now)) {
      return found;
    }
  }
  std::optional<AttestedNode> read = TRY(datastore_.fetch_node(id));
  if (!read) {
    return AttestedNodePtr();
  }
  auto node = std::make_shared<const AttestedNode>(std::move(*read));
  if (keeps) {
    auto records = records_.lock();
    if (records->size() >= kRecordsMax) {
      records->clear();
    }
    records->insert_or_assign(id.text(), Record{node, stamp, now});
  }
  return AttestedNodePtr(std::move(node));
}

AttestedNodePtr NodeRecords::find(const spiffe::SpiffeId& id, std::string_view serial,
                                  const std::optional<sql::Stamp>& stamp, SteadyTime now) {
  auto records = records_.lock();
  auto at = records->find(id.text());
  if (at == records->end()) {
    return nullptr;
  }
  const Record& record = at->second;
  const bool current = stamp && record.stamp == stamp;
  const bool allowed = staleness_max_ > Duration(0) && now - record.read < staleness_max_ &&
                       !record.node->banned() && record.node->serial == serial;
  return current || allowed ? record.node : nullptr;
}

}  // namespace steeple::server
