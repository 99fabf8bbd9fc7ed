// SPDX-License-Identifier: Apache-2.0

// A Workload API for tests, on a real Unix socket with the real RPC server: hands out what the test
// gives it and pushes changes down open streams. Any thread may change what it serves.

#pragma once

#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "lib/base/random.h"
#include "lib/io/loop_thread.h"
#include "lib/io/socket_network.h"
#include "lib/io/worker_pool.h"
#include "lib/rpc/server.h"
#include "lib/x509/fake_authority.h"
#include "workload.pb.h"

namespace spiffe {

class FakeWorkloadApi {
 public:
  FakeWorkloadApi() {
    std::string folder = "/tmp/spiffe-test-XXXXXX";
    folder_ = ::mkdtemp(folder.data());
    start();
  }
  ~FakeWorkloadApi() {
    stop();
    ::rmdir(folder_.c_str());
  }
  FakeWorkloadApi(const FakeWorkloadApi&) = delete;
  FakeWorkloadApi& operator=(const FakeWorkloadApi&) = delete;

  std::string address() const { return "unix://" + path(); }

  // An outage, and its end.
  void stop() {
    thread_.run([this] {
      streams_.clear();
      jwt_streams_.clear();
      listener_.reset();
      server_.reset();
    });
  }
  void start() {
    thread_.run([this] {
      server_ = std::make_unique<steeple::rpc::Server>(
          steeple::rpc::Server::Deps{
              .loop = thread_.loop(), .workers = workers_, .random = steeple::system_random()},
          steeple::rpc::ServerOptions{}, steeple::rpc::ServerHooks{});
      server_->stream(
          "/SpiffeWorkloadAPI/FetchX509SVID",
          [this](std::shared_ptr<steeple::rpc::ServerStream> stream) { serve(std::move(stream)); });
      serve_jwt();
      listener_ = network_
                      .listen(thread_.loop(), steeple::io::Endpoint::unix_socket(path()), {},
                              [this](std::unique_ptr<steeple::io::Connection> connection) {
                                server_->serve(std::move(connection));
                              })
                      .take();
    });
  }

  // From now on every stream gets this, open ones at once.
  void publish(X509SVIDResponse response) {
    thread_.run([&] {
      response_ = std::move(response);
      error_.reset();
      for (auto& stream : streams_) {
        stream->send(response_->SerializeAsString());
      }
    });
  }
  void refuse(steeple::Error error) {
    thread_.run([&] { error_ = std::move(error); });
  }
  // What FetchJWTSVID answers, on the API's thread; none: NotFound.
  using JwtAnswer = std::function<steeple::Result<JWTSVIDResponse>(const JWTSVIDRequest&)>;
  void answer_jwt(JwtAnswer answer) {
    thread_.run([&] { jwt_answer_ = std::move(answer); });
  }
  void publish_jwt_bundles(JWTBundlesResponse response) {
    thread_.run([&] {
      jwt_bundles_ = std::move(response);
      for (auto& stream : jwt_streams_) {
        stream->send(jwt_bundles_->SerializeAsString());
      }
    });
  }
  // How many calls came without the header that keeps browsers out.
  int calls_without_header() {
    int count = 0;
    thread_.run([&] { count = calls_without_header_; });
    return count;
  }

  static X509SVIDResponse response_of(const steeple::x509::FakeAuthority& authority,
                                      const std::vector<steeple::x509::FakeAuthority::Svid>& svids,
                                      const std::vector<std::string>& ids) {
    X509SVIDResponse response;
    for (std::size_t i = 0; i < svids.size(); ++i) {
      auto* proto = response.add_svids();
      proto->set_spiffe_id(ids[i]);
      for (const auto& certificate : svids[i].chain) {
        proto->mutable_x509_svid()->append(certificate);
      }
      proto->set_x509_svid_key(std::string(svids[i].key->to_pkcs8().reveal()));
      proto->set_bundle(authority.certificate()->der());
    }
    return response;
  }

 private:
  std::string path() const { return folder_ + "/api.sock"; }

  void serve(std::shared_ptr<steeple::rpc::ServerStream> stream) {
    if (stream->context().values("workload.spiffe.io") != std::vector<std::string>{"true"}) {
      ++calls_without_header_;
    }
    if (error_) {
      stream->finish(*error_);
      return;
    }
    if (response_) {
      stream->send(response_->SerializeAsString());
    }
    streams_.push_back(std::move(stream));
  }

  void serve_jwt() {
    steeple::rpc::add_unary<JWTSVIDRequest, JWTSVIDResponse>(
        *server_, "/SpiffeWorkloadAPI/FetchJWTSVID", steeple::rpc::Where::kLoop,
        [this](steeple::rpc::CallContext&, const JWTSVIDRequest& request) {
          return jwt_answer_ ? jwt_answer_(request)
                             : steeple::Result<JWTSVIDResponse>(steeple::not_found("no token"));
        });
    server_->stream("/SpiffeWorkloadAPI/FetchJWTBundles",
                    [this](std::shared_ptr<steeple::rpc::ServerStream> stream) {
                      if (jwt_bundles_) {
                        stream->send(jwt_bundles_->SerializeAsString());
                      }
                      jwt_streams_.push_back(std::move(stream));
                    });
  }

  std::string folder_;
  steeple::io::SocketNetwork network_;
  steeple::io::WorkerPool workers_;
  std::unique_ptr<steeple::rpc::Server> server_;
  std::unique_ptr<steeple::io::Listener> listener_;
  std::vector<std::shared_ptr<steeple::rpc::ServerStream>> streams_;
  std::vector<std::shared_ptr<steeple::rpc::ServerStream>> jwt_streams_;
  std::optional<X509SVIDResponse> response_;
  std::optional<JWTBundlesResponse> jwt_bundles_;
  JwtAnswer jwt_answer_;
  std::optional<steeple::Error> error_;
  int calls_without_header_ = 0;
  steeple::io::LoopThread thread_;  // last: its loop ends before what runs on it goes
};

}  // namespace spiffe
