// SPDX-License-Identifier: Apache-2.0

#include "server/authz/node_records.h"

#include <utility>

namespace steeple::server {
namespace {

// About 400 bytes each; beyond, all are forgotten and read again as they are needed.
constexpr std::size_t kRecordsMax = 100'000;

}  // namespace

NodeRecords::NodeRecords(Datastore& datastore, Clock& clock, Duration staleness_max)
    : datastore_(datastore),
      clock_(clock),
      told_(datastore.tells_all_changes()),
      staleness_max_(staleness_max),
      subscription_(datastore.subscribe([this](const ChangeBatch& batch) { changed(batch); })) {}

Result<AttestedNodePtr> NodeRecords::get(const spiffe::SpiffeId& id) {
  const bool keeps = told_ || staleness_max_ > Duration(0);
  const SteadyTime now = told_ ? SteadyTime() : clock_.steady();
  std::uint64_t changes = 0;
  {
    auto shared = shared_.lock();
    auto at = shared->records.find(id.text());
    if (at != shared->records.end() && (told_ || now - at->second.read < staleness_max_)) {
      return at->second.node;
    }
    changes = shared->changes;
  }
  std::optional<AttestedNode> read = TRY(datastore_.fetch_node(id));
  if (!read) {
    return AttestedNodePtr();
  }
  auto node = std::make_shared<const AttestedNode>(std::move(*read));
  if (keeps) {
    auto shared = shared_.lock();
    if (shared->changes == changes) {
      if (shared->records.size() >= kRecordsMax) {
        shared->records.clear();
      }
      shared->records.insert_or_assign(id.text(), Record{node, now});
    }
  }
  return AttestedNodePtr(std::move(node));
}

void NodeRecords::changed(const ChangeBatch& batch) {
  if (batch.node_ids.empty() && !batch.everything) {
    return;
  }
  auto shared = shared_.lock();
  ++shared->changes;
  if (batch.everything) {
    shared->records.clear();
  }
  for (const std::string& id : batch.node_ids) {
    shared->records.erase(id);
  }
}

}  // namespace steeple::server
