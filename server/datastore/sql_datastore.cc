// SPDX-License-Identifier: Apache-2.0

#include "server/datastore/sql_datastore.h"

#include <algorithm>

#include "server/datastore/schema.h"
#include "server/datastore/sql_store.h"
#include "server/datastore/time_text.h"

namespace steeple::server {

// Removes its listener; waits for a call that is under way.
class SqlStore::ListenerSubscription final : public Datastore::Subscription {
 public:
  ListenerSubscription(std::shared_ptr<Listeners> all, std::shared_ptr<Listener> mine)
      : all_(std::move(all)), mine_(std::move(mine)) {}
  ~ListenerSubscription() override {
    std::erase(*all_->lock(), mine_);
    *mine_->alive.lock() = false;
  }

 private:
  std::shared_ptr<Listeners> all_;
  std::shared_ptr<Listener> mine_;
};

Result<Tx> SqlStore::read() { return Tx(TRY(database_->read().during(kSqlPrefix)), std::string()); }

Result<Tx> SqlStore::write() {
  return Tx(TRY(database_->write().during(kSqlPrefix)), time_text(clock_.now()));
}

Result<void> SqlStore::finish(Tx tx) {
  ChangeBatch changes = tx.take_changes();
  Result<void> committed = tx.commit();
  if (!changes.empty()) {
    if (!committed.ok()) {
      changes = {.everything = true};
    }
    announce(std::move(changes));
  }
  return committed;
}

void SqlStore::announce(ChangeBatch changes) {
  changes.revision = ++revision_;
  std::vector<std::shared_ptr<Listener>> listeners = *listeners_->lock();
  for (const auto& listener : listeners) {
    auto alive = listener->alive.lock();
    if (*alive) {
      listener->tell(changes);
    }
  }
}

// Told in the order of subscription: who subscribes first is up to date when the next one hears.
std::unique_ptr<Datastore::Subscription> SqlStore::subscribe(ChangeListener listener) {
  auto mine = std::make_shared<Listener>();
  mine->tell = std::move(listener);
  listeners_->lock()->push_back(mine);
  return std::make_unique<ListenerSubscription>(listeners_, std::move(mine));
}

Result<std::optional<spiffe::TrustDomain>> SqlStore::foreign_trust_domain(
    const spiffe::TrustDomain& own) {
  auto tx = TRY(read());
  // In the order of the index all IDs of one trust domain stand together, so a foreign one is
  // first or last.
  for (std::string_view sql :
       {"SELECT spiffe_id FROM registered_entries ORDER BY spiffe_id ASC LIMIT 1",
        "SELECT spiffe_id FROM registered_entries ORDER BY spiffe_id DESC LIMIT 1",
        "SELECT spiffe_id FROM attested_node_entries ORDER BY spiffe_id ASC LIMIT 1",
        "SELECT spiffe_id FROM attested_node_entries ORDER BY spiffe_id DESC LIMIT 1"}) {
    auto rows = TRY(tx.query(sql));
    if (!TRY(rows.next())) {
      continue;
    }
    auto id = spiffe::SpiffeId::parse(rows.text(0));
    if (!id.ok()) {
      return corrupt_row("SPIFFE ID", rows.text(0), id.error().message);
    }
    if (!id->member_of(own)) {
      return std::optional<spiffe::TrustDomain>(id->trust_domain());
    }
  }
  return std::optional<spiffe::TrustDomain>();
}

Result<void> SqlStore::ping() {
  auto tx = TRY(read());
  auto rows = TRY(tx.query("SELECT version FROM migrations LIMIT 1"));
  TRY(rows.next());
  return rows.ok();
}

Result<std::unique_ptr<Datastore>> open_sql_datastore(std::shared_ptr<sql::Database> database,
                                                      Clock& clock, Random& random,
                                                      const DatastoreOptions& options) {
  TRY(prepare_schema(*database, clock, options));
  return std::unique_ptr<Datastore>(std::make_unique<SqlStore>(std::move(database), clock, random));
}

}  // namespace steeple::server
