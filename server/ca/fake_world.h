// SPDX-License-Identifier: Apache-2.0

// A server's authorities with everything real but time: SQLite and keys in files of a temporary
// folder, whole restarts, and a disk that refuses to write after so many writes (which is what a
// kill -9 at that moment leaves behind). For tests. Used by one thread.

#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/fake_clock.h"
#include "lib/base/fake_random.h"
#include "lib/io/directory.h"
#include "lib/jose/jwt_svid.h"
#include "lib/keymanager/keymanager.h"
#include "lib/sql/database.h"
#include "lib/telemetry/fake_log.h"
#include "lib/x509/verify.h"
#include "server/ca/authority_keeper.h"
#include "server/ca/ca.h"
#include "server/datastore/sql_datastore.h"

namespace steeple::server {

// Writes that may still happen; shared by database and key file.
struct WriteBudget {
  int left = std::numeric_limits<int>::max();
  bool spend() { return left > 0 && left-- > 0; }
};

class BudgetDatabase final : public sql::Database {
 public:
  BudgetDatabase(std::unique_ptr<sql::Database> inner, WriteBudget& budget)
      : inner_(std::move(inner)), budget_(budget) {}
  Result<sql::Lease> write() override {
    if (!budget_.spend()) {
      return unavailable("the disk is gone");
    }
    return inner_->write();
  }
  Result<sql::Lease> read() override { return inner_->read(); }
  std::string version() const override { return inner_->version(); }

 private:
  std::unique_ptr<sql::Database> inner_;
  WriteBudget& budget_;
};

class BudgetDirectory final : public io::Directory {
 public:
  BudgetDirectory(std::unique_ptr<io::Directory> inner, WriteBudget& budget)
      : inner_(std::move(inner)), budget_(budget) {}
  Result<Bytes> read(const std::string& name) override { return inner_->read(name); }
  Result<void> write(const std::string& name, ByteView content, mode_t mode) override {
    if (!budget_.spend()) {
      return unavailable("the disk is gone");
    }
    return inner_->write(name, content, mode);
  }
  Result<void> remove(const std::string& name) override { return inner_->remove(name); }
  Result<std::vector<std::string>> list() override { return inner_->list(); }

 private:
  std::unique_ptr<io::Directory> inner_;
  WriteBudget& budget_;
};

class CaWorld {
 public:
  explicit CaWorld(CredentialOptions credential_options = {.trust_domain = domain()},
                   AuthorityKeeper::Options keeper_options = {})
      : credentials(std::move(credential_options)), options(keeper_options) {
    std::string pattern = (std::filesystem::temp_directory_path() / "ca-XXXXXX").string();
    CHECK(::mkdtemp(pattern.data()) != nullptr);
    folder_ = pattern;
  }
  ~CaWorld() {
    stop();
    std::filesystem::remove_all(folder_);
  }

  static spiffe::TrustDomain domain() { return spiffe::TrustDomain::parse("example.org").take(); }

  // A process starts: opens its stores, loads the journal, ticks once.
  Result<void> start() {
    stop();
    auto database = TRY(sql::open_database({.connection_string = folder_ + "/datastore.sqlite3"}));
    store = TRY(open_sql_datastore(std::make_shared<BudgetDatabase>(std::move(database), budget),
                                   clock, random));
    auto directory = std::make_shared<BudgetDirectory>(TRY(io::open_directory(folder_)), budget);
    keys = TRY(keymanager::disk_key_manager(directory));
    ca = std::make_unique<Ca>(credentials, Ca::Deps{clock, random, no_metrics()});
    keeper = TRY(AuthorityKeeper::open(options, {.clock = clock,
                                                 .random = random,
                                                 .datastore = *store,
                                                 .keys = *keys,
                                                 .upstream = upstream,
                                                 .ca = *ca,
                                                 .log = log.logger(),
                                                 .metrics = no_metrics()}));
    return keeper->tick();
  }
  // Dies as a killed process does: nothing is written at the end.
  void stop() {
    keeper.reset();
    ca.reset();
    keys.reset();
    store.reset();
  }

  jose::Bundle bundle() const { return store->fetch_bundle(domain()).take().value(); }

  // Anybody with the present bundle checks the SVID.
  Result<void> verify(const std::vector<Bytes>& chain) const {
    auto roots = std::make_shared<x509::Authorities>();
    for (const auto& root : bundle().x509_authorities) {
      roots->push_back(x509::Certificate::parse(root.der).take());
    }
    const x509::AuthoritiesPtr shared = roots;
    TRY(x509::verify_svid(
        chain, [&shared](const spiffe::TrustDomain&) { return shared; }, clock.now()));
    return {};
  }
  Result<void> verify(const std::string& token) const {
    const jose::Bundle now = bundle();
    auto find = [&now](
                    const spiffe::TrustDomain&,
                    std::string_view key_id) -> Result<std::shared_ptr<const crypto::PublicKey>> {
      for (const auto& key : now.jwt_authorities) {
        if (key.key_id == key_id) {
          auto read = TRY(crypto::PublicKey::from_spki(key.spki_der));
          return std::make_shared<const crypto::PublicKey>(std::move(read));
        }
      }
      return not_found("no such key");
    };
    TRY(jose::verify_jwt_svid(token, {"audience"}, find, clock.now()));
    return {};
  }

  Result<SignedX509> x509(Duration ttl = Duration(0)) const {
    return ca->sign_workload_x509_svid(
        {.public_key = workload_->public_key(), .id = workload_id_, .ttl = ttl});
  }
  Result<SignedJwt> jwt(Duration ttl = Duration(0)) const {
    const std::vector<std::string> audience = {"audience"};
    return ca->sign_workload_jwt_svid({.id = workload_id_, .audience = audience, .ttl = ttl});
  }

  CredentialOptions credentials;
  AuthorityKeeper::Options options;
  UpstreamAuthority* upstream = nullptr;
  FakeClock clock;
  SeededRandom random{42};
  CapturedLog log;
  WriteBudget budget;

  std::unique_ptr<Datastore> store;
  std::unique_ptr<keymanager::KeyManager> keys;
  std::unique_ptr<Ca> ca;
  std::unique_ptr<AuthorityKeeper> keeper;

 private:
  std::string folder_;
  std::shared_ptr<const crypto::PrivateKey> workload_ =
      crypto::PrivateKey::generate(crypto::KeyType::kEcP256).take();
  spiffe::SpiffeId workload_id_ = spiffe::SpiffeId::make(domain(), "/workload").take();
};

}  // namespace steeple::server
