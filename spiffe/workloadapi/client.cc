// SPDX-License-Identifier: Apache-2.0

#include "spiffe/workloadapi/client.h"

#include <future>

#include "lib/base/random.h"
#include "lib/io/loop_thread.h"
#include "lib/io/socket_network.h"
#include "lib/rpc/client.h"
#include "spiffe/workloadapi/address.h"
#include "workload.pb.h"

namespace spiffe {
namespace {

using steeple::Bytes;
using steeple::ByteView;
using steeple::Code;
using steeple::Duration;
using steeple::Error;
using steeple::Result;
namespace io = steeple::io;
namespace rpc = steeple::rpc;

constexpr std::string_view kService = "/SpiffeWorkloadAPI/";
// A workload has a handful of identities, but federated bundles can be many.
constexpr std::size_t kAnswerBytesMax = std::size_t{16} << 20;

rpc::CallOptions call_options(Duration timeout) {
  rpc::CallOptions options;
  options.metadata = {{"workload.spiffe.io", "true"}};
  options.timeout = timeout;
  options.message_bytes_max = kAnswerBytesMax;
  return options;
}

std::string method(std::string_view name) { return std::string(kService) + std::string(name); }

template <class Proto>
Result<Proto> parse(ByteView raw) {
  Proto proto;
  if (!proto.ParseFromArray(raw.data(), static_cast<int>(raw.size()))) {
    return steeple::internal("grpc: failed to unmarshal the received message");
  }
  return proto;
}

}  // namespace

class Client::Core {
 public:
  Core(io::Endpoint endpoint, ClientOptions options) : options_(std::move(options)) {
    rpc::ChannelOptions channel_options;
    channel_options.backoff_first = options_.backoff_first;
    channel_options.backoff_max = options_.backoff_first;  // watches have their own
    thread_.run([&] {
      channel_ =
          std::make_unique<rpc::Channel>(rpc::Channel::Deps{.loop = thread_.loop(),
                                                            .network = network_,
                                                            .tls = nullptr,
                                                            .random = steeple::system_random()},
                                         std::move(endpoint), nullptr, channel_options);
    });
  }
  ~Core() {
    thread_.run([this] { channel_.reset(); });
  }
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  io::LoopThread& thread() { return thread_; }
  rpc::Channel& channel() { return *channel_; }
  const ClientOptions& options() const { return options_; }

  // One request, one answer.
  Result<Bytes> unary(std::string_view name, Bytes request, Duration timeout) {
    std::promise<Result<Bytes>> promise;
    std::unique_ptr<rpc::ClientCall> call;
    thread_.run([&] {
      call =
          channel_->unary(method(name), std::move(request), call_options(timeout),
                          [&promise](Result<Bytes> reply) { promise.set_value(std::move(reply)); });
    });
    Result<Bytes> reply = promise.get_future().get();
    thread_.run([&] { call.reset(); });
    return reply;
  }

  // The first message of a stream.
  Result<Bytes> first(std::string_view name, Duration timeout) {
    std::promise<Result<Bytes>> promise;
    auto answered = std::make_shared<bool>(false);
    std::unique_ptr<rpc::ClientCall> call;
    auto answer = [&promise, answered](Result<Bytes> reply) {
      if (!std::exchange(*answered, true)) {
        promise.set_value(std::move(reply));
      }
    };
    thread_.run([&] {
      rpc::StreamReply reply;
      reply.on_message = [answer](ByteView raw) { answer(Bytes(raw)); };
      reply.on_done = [answer](Result<void> status) {
        answer(status.ok() ? steeple::unavailable("stream closed without an answer")
                           : std::move(status.error()));
      };
      call = channel_->stream(method(name), call_options(timeout), std::move(reply));
      call->send({});
      call->close_send();
    });
    Result<Bytes> reply = promise.get_future().get();
    thread_.run([&] { call.reset(); });
    return reply;
  }

 private:
  ClientOptions options_;
  io::LoopThread thread_;
  io::SocketNetwork network_;
  std::unique_ptr<rpc::Channel> channel_;
};

namespace {

// A stream that is opened again whenever it ends. On the loop.
template <class Proto, class T>
class Watch {
 public:
  Watch(rpc::Channel& channel, io::Loop& loop, const ClientOptions& options, std::string_view name,
        Result<T> (*convert)(const Proto&), Watcher<T> watcher)
      : channel_(channel),
        options_(options),
        name_(name),
        convert_(convert),
        watcher_(std::move(watcher)),
        loop_(loop),
        retry_(loop),
        backoff_(options.backoff_first) {}

  void open() {
    rpc::StreamReply reply;
    reply.on_message = [this](ByteView raw) { received(raw); };
    reply.on_done = [this](Result<void> status) {
      ended(status.ok() ? steeple::unavailable("stream closed") : std::move(status.error()));
    };
    call_ = channel_.stream(method(name_), call_options(Duration::max()), std::move(reply));
    call_->send({});
    call_->close_send();
  }

 private:
  void received(ByteView raw) {
    Result<Proto> proto = parse<Proto>(raw);
    Result<T> value = proto.ok() ? convert_(*proto) : Result<T>(std::move(proto.error()));
    if (!value.ok()) {
      // The last good value stays; the agent may send a better one.
      tell(value.error());
      return;
    }
    backoff_ = options_.backoff_first;
    lost_at_.reset();
    watcher_.on_update(std::make_shared<const T>(std::move(*value)));
  }

  void ended(const Error& error) {
    tell(error);
    if (error.code == Code::kInvalidArgument) {
      return;
    }
    Duration wait = steeple::system_random().jitter(backoff_, 0.1);
    steeple::SteadyTime now = loop_.clock().steady();
    if (now - lost_at_.value_or(now) >= options_.quick_for) {
      backoff_ = std::min(backoff_ * 2, options_.backoff_max);
    }
    lost_at_ = lost_at_.value_or(now);
    retry_.start(wait, [this] { open(); });
  }

  void tell(const Error& error) {
    if (watcher_.on_error) {
      watcher_.on_error(error);
    }
  }

  rpc::Channel& channel_;
  const ClientOptions& options_;
  std::string name_;
  Result<T> (*convert_)(const Proto&);
  Watcher<T> watcher_;
  io::Loop& loop_;
  io::Timer retry_;
  Duration backoff_;
  std::optional<steeple::SteadyTime> lost_at_;  // since when there is no stream that gave something
  std::unique_ptr<rpc::ClientCall> call_;
};

template <class W>
class Handle final : public WatchHandle {
 public:
  Handle(io::LoopThread& thread, std::unique_ptr<W> watch)
      : thread_(thread), watch_(std::move(watch)) {
    thread_.run([this] { watch_->open(); });
  }
  ~Handle() override {
    thread_.run([this] { watch_.reset(); });
  }

 private:
  io::LoopThread& thread_;
  std::unique_ptr<W> watch_;
};

template <class Proto, class T>
std::unique_ptr<WatchHandle> start_watch(Client::Core& core, std::string_view name,
                                         Result<T> (*convert)(const Proto&), Watcher<T> watcher) {
  using W = Watch<Proto, T>;
  return std::make_unique<Handle<W>>(
      core.thread(), std::make_unique<W>(core.channel(), core.thread().loop(), core.options(), name,
                                         convert, std::move(watcher)));
}

}  // namespace

Client::Client(std::unique_ptr<Core> core) : core_(std::move(core)) {}
Client::~Client() = default;

Result<std::shared_ptr<Client>> Client::make(ClientOptions options) {
  if (options.address.empty()) {
    auto address = default_address();
    if (!address) {
      return steeple::invalid_argument(
          "workload endpoint socket address is not configured: set SPIFFE_ENDPOINT_SOCKET");
    }
    options.address = *address;
  }
  auto endpoint = TRY(parse_address(options.address));
  return std::make_shared<Client>(std::make_unique<Core>(std::move(endpoint), std::move(options)));
}

Result<X509Context> Client::fetch_x509_context(Duration timeout) {
  Bytes raw = TRY(core_->first("FetchX509SVID", timeout));
  return x509_context_from(TRY(parse<X509SVIDResponse>(raw)));
}

Result<BundleSet> Client::fetch_x509_bundles(Duration timeout) {
  Bytes raw = TRY(core_->first("FetchX509Bundles", timeout));
  return bundles_from(TRY(parse<X509BundlesResponse>(raw)));
}

Result<BundleSet> Client::fetch_jwt_bundles(Duration timeout) {
  Bytes raw = TRY(core_->first("FetchJWTBundles", timeout));
  return bundles_from(TRY(parse<JWTBundlesResponse>(raw)));
}

Result<std::vector<JwtSvid>> Client::fetch_jwt_svids(const JwtParams& params, Duration timeout) {
  JWTSVIDRequest request;
  for (const std::string& audience : params.audience) {
    request.add_audience(audience);
  }
  if (params.subject) {
    request.set_spiffe_id(params.subject->text());
  }
  auto response = TRY(parse<JWTSVIDResponse>(
      TRY(core_->unary("FetchJWTSVID", request.SerializeAsString(), timeout))));
  std::vector<JwtSvid> svids;
  for (const auto& proto : response.svids()) {
    auto svid =
        TRY(JwtSvid::parse_insecure(proto.svid(), params.audience, steeple::system_clock().now()));
    svid.hint = proto.hint();
    svids.push_back(std::move(svid));
  }
  if (svids.empty()) {
    return steeple::not_found("there were no SVIDs in the response");
  }
  return svids;
}

Result<JwtSvid> Client::validate_jwt_svid(const std::string& token, const std::string& audience,
                                          Duration timeout) {
  ValidateJWTSVIDRequest request;
  request.set_svid(token);
  request.set_audience(audience);
  auto response = TRY(parse<ValidateJWTSVIDResponse>(
      TRY(core_->unary("ValidateJWTSVID", request.SerializeAsString(), timeout))));
  auto svid = TRY(JwtSvid::parse_insecure(token, {audience}, steeple::system_clock().now()));
  if (svid.id.text() != response.spiffe_id()) {
    return steeple::internal("the agent validated another SPIFFE ID than the token's");
  }
  return svid;
}

std::unique_ptr<WatchHandle> Client::watch_x509_context(Watcher<X509Context> watcher) {
  return start_watch<X509SVIDResponse, X509Context>(*core_, "FetchX509SVID", x509_context_from,
                                                    std::move(watcher));
}

std::unique_ptr<WatchHandle> Client::watch_x509_bundles(Watcher<BundleSet> watcher) {
  return start_watch<X509BundlesResponse, BundleSet>(*core_, "FetchX509Bundles", bundles_from,
                                                     std::move(watcher));
}

std::unique_ptr<WatchHandle> Client::watch_jwt_bundles(Watcher<BundleSet> watcher) {
  return start_watch<JWTBundlesResponse, BundleSet>(*core_, "FetchJWTBundles", bundles_from,
                                                    std::move(watcher));
}

}  // namespace spiffe
