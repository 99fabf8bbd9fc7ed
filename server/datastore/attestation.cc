// SPDX-License-Identifier: Apache-2.0

// What an attestation writes: token, node and selectors in one transaction. A commit is mostly
// waiting for the disk, and while one thread does so others queue for the writing connection; the
// next one to get it takes the work of all of them along, each behind its own savepoint.

#include <future>

#include "server/datastore/sql_store.h"

namespace steeple::server {
namespace {

Result<Attested> attest(Tx& tx, const NodeAttestation& attestation) {
  const AttestedNode& node = attestation.node;
  // The delete decides, also against other servers on this database.
  if (!attestation.join_token.empty() &&
      TRY(tx.run("DELETE FROM join_tokens WHERE token = ?", attestation.join_token)) != 1) {
    return Attested::kTokenGone;
  }
  auto stored = TRY(read_node(tx, node.spiffe_id));
  if (!stored) {
    TRY(insert_node(tx, node));
  } else {
    if (stored->node.banned()) {
      return Attested::kBanned;
    }
    stored->node.serial = node.serial;
    stored->node.not_after = node.not_after;
    stored->node.new_serial = node.new_serial;
    stored->node.new_not_after = node.new_not_after;
    stored->node.can_reattest = node.can_reattest;
    TRY(write_node(tx, *stored));
  }
  TRY(replace_selectors(tx, node.spiffe_id, node.selectors));
  return Attested::kYes;
}

}  // namespace

struct SqlStore::WaitingAttestation {
  explicit WaitingAttestation(const NodeAttestation& wanted) : attestation(wanted) {}

  const NodeAttestation& attestation;  // of the caller, who waits
  std::promise<Result<Attested>> outcome;
};

Result<Attested> SqlStore::attest_node(const NodeAttestation& attestation) {
  auto mine = std::make_shared<WaitingAttestation>(attestation);
  std::future<Result<Attested>> outcome = mine->outcome.get_future();
  attestations_.lock()->push_back(mine);
  Result<Tx> tx = write();
  std::vector<std::shared_ptr<WaitingAttestation>> batch;
  {
    auto waiting = attestations_.lock();
    if (tx.ok()) {
      batch.swap(*waiting);
    } else if (std::erase(*waiting, mine) != 0) {
      return std::move(tx).error();
    }
  }
  if (!batch.empty()) {
    Result<std::vector<Result<Attested>>> done = attest_all(std::move(tx).take(), batch);
    for (std::size_t i = 0; i < batch.size(); ++i) {
      batch[i]->outcome.set_value(done.ok() ? std::move((*done)[i])
                                            : Result<Attested>(done.error()));
    }
  } else if (tx.ok()) {
    Tx unused = std::move(tx).take();  // another thread took ours along; gives the connection back
  }
  // Whoever took it has committed or failed by now, or is about to: no wait for anything else.
  return outcome.get();
}

Result<std::vector<Result<Attested>>> SqlStore::attest_all(
    Tx tx, const std::vector<std::shared_ptr<WaitingAttestation>>& batch) {
  std::vector<Result<Attested>> outcomes;
  outcomes.reserve(batch.size());
  bool wrote = false;
  for (const auto& item : batch) {
    TRY(tx.begin_part());
    Result<Attested> outcome = attest(tx, item->attestation);
    if (outcome.ok() && *outcome == Attested::kYes) {
      TRY(tx.keep_part());
      wrote = true;
    } else {
      TRY(tx.undo_part());
    }
    outcomes.push_back(std::move(outcome));
  }
  if (wrote) {
    TRY(finish(std::move(tx)));
  }
  return outcomes;
}

}  // namespace steeple::server
