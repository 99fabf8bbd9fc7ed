// SPDX-License-Identifier: Apache-2.0

// One call of the Workload API, from its request to its end. Held by its stream's handlers, and
// holds the stream until that has closed. On the loop.

#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/api/workload_api.h"
#include "agent/peer/peer_process.h"
#include "workload.pb.h"

namespace steeple::agent {

enum class WorkloadMethod : std::uint8_t {
  kFetchX509Svid,
  kFetchX509Bundles,
  kFetchJwtSvid,
  kFetchJwtBundles,
  kValidateJwtSvid,
};

class WorkloadSession;

// Attestations that go to workers (they may hash an executable) run one at a time for each process,
// and those of calls that were cancelled meanwhile not at all: a caller that asks and hangs up
// thousands of times keeps no worker from the others. On the loop.
class AttestationTurns {
 public:
  // Runs the session's attestation now, or when its process has had its turn.
  void enqueue(pid_t pid, const std::shared_ptr<WorkloadSession>& session);
  void finished(pid_t pid);

 private:
  // Those that wait; the key stands while one runs.
  std::unordered_map<pid_t, std::deque<std::weak_ptr<WorkloadSession>>> waiting_;
};

// What all sessions share.
struct WorkloadContext {
  WorkloadApi::Options options;
  WorkloadApi::Deps deps;
  RateLimit x509_svid, jwt_svid, x509_bundles, jwt_bundles;
  std::size_t sessions = 0;
  AttestationTurns turns = {};
  std::uint64_t streams_begun = 0;
  std::map<std::uint64_t, std::weak_ptr<WorkloadSession>> streams = {};
};

class WorkloadSession : public std::enable_shared_from_this<WorkloadSession> {
 public:
  WorkloadSession(std::shared_ptr<WorkloadContext> context, WorkloadMethod method,
                  std::shared_ptr<rpc::ServerStream> stream);
  ~WorkloadSession();

  // Ties it to its stream.
  void begin();
  // False when the call is over already.
  bool attest_on_worker();
  // Of a stream that was attested, or is being: the newer selectors take the place of the older.
  void attest_again();

 private:
  void requested(ByteView request);
  Result<void> read_request(ByteView request);
  void attest();
  void attested(Result<Selectors> selectors);
  void attested_again(const Result<Selectors>& selectors);
  bool allowed_by_rate(const Selectors& selectors);
  void subscribe(const Selectors& selectors);
  void updated(const WorkloadUpdatePtr& update);
  const Bytes& encoded(const WorkloadUpdate& update) const;
  Result<Bytes> response_to(const WorkloadUpdatePtr& update) const;
  void fetch_tokens(const Selectors& selectors);
  void tokens_done();
  Result<Bytes> validate(const Selectors& selectors) const;

  // Checks the caller once more, then sends.
  void push(const Bytes& response);
  void reply(Result<Bytes> response);
  void finish(Result<void> status);
  void closed();
  Error no_identity() const;
  Logger log() const;
  bool is_agent() const;

  std::shared_ptr<WorkloadContext> context_;
  WorkloadMethod method_;
  std::shared_ptr<rpc::ServerStream> stream_;  // null once closed
  std::shared_ptr<const WorkloadProcess> process_;
  std::uint64_t number_ = 0;  // in the context's streams; 0: in none
  bool subscribed_ = false;
  X509Cache::Subscription subscription_;
  WorkloadUpdatePtr told_;

  // Of the unary methods.
  struct Unary {
    ::JWTSVIDRequest fetch;
    ::ValidateJWTSVIDRequest validate;
    ::JWTSVIDResponse tokens;
    std::size_t waiting = 0;
    std::vector<EntryPtr> entries;             // whose tokens were asked for
    std::vector<std::optional<Error>> errors;  // of them
    Selectors selectors;
  };
  std::unique_ptr<Unary> unary_;
};

// Claims as the caller may see them: of tokens of other trust domains only sub, exp, aud and the
// allowed ones. For tests.
Result<::ValidateJWTSVIDResponse> validation_response(
    const std::string& claims_json, const spiffe::SpiffeId& id, const spiffe::TrustDomain& own,
    const std::set<std::string, std::less<>>& allowed_foreign_claims);

}  // namespace steeple::agent
