// SPDX-License-Identifier: Apache-2.0

#include "lib/http/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "lib/http/date.h"

namespace steeple::http {
namespace {

namespace beast = boost::beast::http;
using namespace std::chrono_literals;

constexpr std::size_t kReadBytes = 16 * 1024;
// After an early end the rest of the request is read and dropped for a while, so that the client
// sees the response and not a reset.
constexpr std::size_t kLingerBytesMax = 256 * 1024;
constexpr auto kLingerTimeout = 1s;
constexpr std::uint64_t kRequestsPerTurn = 16;

std::string text_of(boost::string_view text) { return {text.data(), text.size()}; }

bool splits_header(std::string_view text) {
  return text.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos;
}

// Path and query of a request target: origin form, or absolute form as proxies send it.
std::optional<std::pair<std::string, std::string>> split_target(std::string_view target) {
  for (std::string_view scheme : {"http://", "https://"}) {
    if (target.starts_with(scheme)) {
      target.remove_prefix(scheme.size());
      std::size_t slash = target.find_first_of("/?");
      target = slash == std::string_view::npos ? "/" : target.substr(slash);
      break;
    }
  }
  if (!target.starts_with('/')) {
    return std::nullopt;
  }
  target = target.substr(0, target.find('#'));
  std::size_t mark = target.find('?');
  return std::pair(std::string(target.substr(0, mark)),
                   mark == std::string_view::npos ? "" : std::string(target.substr(mark + 1)));
}

}  // namespace

class Server::Session::Parser {
 public:
  explicit Parser(const ServerOptions& options) {
    parser_.header_limit(static_cast<std::uint32_t>(options.header_bytes_max));
    parser_.body_limit(options.body_bytes_max);
    parser_.eager(true);
  }

  // Bytes taken, or the status that refuses the request.
  struct Taken {
    std::size_t bytes = 0;
    int refusal = 0;
  };
  Taken put(std::string_view data) {
    boost::system::error_code problem;
    Taken taken;
    taken.bytes = parser_.put(boost::asio::const_buffer(data.data(), data.size()), problem);
    if (!problem || problem == beast::error::need_more) {
      return taken;
    }
    bool long_header =
        problem == beast::error::header_limit || problem == beast::error::buffer_overflow;
    taken.refusal = problem == beast::error::body_limit ? 413 : long_header ? 431 : 400;
    return taken;
  }
  bool begun() const { return begun_; }
  void set_begun() { begun_ = true; }
  bool done() const { return parser_.is_done(); }
  beast::request<beast::string_body> take() { return parser_.release(); }

 private:
  beast::request_parser<beast::string_body> parser_;
  bool begun_ = false;  // a byte of the request has come
};

Server::Session::Session(const std::shared_ptr<State>& server, std::uint64_t id,
                         std::unique_ptr<io::Connection> connection)
    : server_(server),
      loop_(server->loop),
      options_(server->options),
      id_(id),
      connection_(std::move(connection)),
      timer_(loop_) {}

Server::Session::~Session() = default;

void Server::Session::start() {
  next_request();
  std::weak_ptr<Session> weak = weak_from_this();
  connection_->on_ready([weak](bool, bool) {
    if (auto self = weak.lock()) {
      self->run();
    }
  });
  set_interest();
  run();  // bytes may wait in the connection already, below what it watches
}

void Server::Session::next_request() {
  parser_ = std::make_unique<Parser>(options_);
  phase_ = Phase::kReading;
  ++number_;
  timer_.start(options_.idle_timeout, [this] { close(); });
}

void Server::Session::drain() {
  draining_ = true;
  if (phase_ == Phase::kReading && !parser_->begun()) {
    close();
  }
}

void Server::Session::close() {
  if (phase_ == Phase::kClosed) {
    return;
  }
  auto self = shared_from_this();
  phase_ = Phase::kClosed;
  timer_.cancel();
  connection_->interest(false, false);
  // Its handler may be what runs now, so it goes later.
  loop_.post([connection = std::shared_ptr<io::Connection>(std::move(connection_))] {});
  if (auto server = server_.lock()) {
    server->forget(id_);
  }
}

// Goes on as long as something moves. Handlers that answer at once come back here, so a client
// that sends many requests in one piece does not deepen the stack; after some it waits its turn.
void Server::Session::run() {
  if (running_) {
    return;
  }
  auto self = shared_from_this();
  running_ = true;
  bool moved = true;
  std::uint64_t last = number_ + kRequestsPerTurn;
  while (moved && phase_ != Phase::kClosed && number_ < last) {
    switch (phase_) {
      case Phase::kReading:
        moved = parse_some() || read_some();
        break;
      case Phase::kWriting:
        moved = write_some();
        break;
      case Phase::kLingering:
        moved = read_some();
        break;
      default:
        moved = false;
    }
  }
  running_ = false;
  if (phase_ != Phase::kClosed) {
    set_interest();
  }
  if (number_ == last) {
    loop_.post([weak = weak_from_this()] {
      if (auto session = weak.lock()) {
        session->run();
      }
    });
  }
}

void Server::Session::set_interest() {
  bool reading = phase_ == Phase::kReading || phase_ == Phase::kLingering;
  connection_->interest(reading, phase_ == Phase::kWriting);
}

// True when bytes came.
bool Server::Session::read_some() {
  std::array<char, kReadBytes> buffer;
  io::IoResult got = connection_->read(buffer);
  if (got.status == io::IoStatus::kWouldBlock) {
    return false;
  }
  if (got.status != io::IoStatus::kOk) {
    close();
    return false;
  }
  if (phase_ == Phase::kLingering) {
    lingered_ += got.bytes;
    if (lingered_ > kLingerBytesMax) {
      close();
    }
    return phase_ != Phase::kClosed;
  }
  input_.append(buffer.data(), got.bytes);
  return true;
}

// True when a request was completed or refused, false when more bytes are needed.
bool Server::Session::parse_some() {
  if (input_.empty()) {
    return false;
  }
  if (!parser_->begun()) {
    parser_->set_begun();
    std::uint64_t number = number_;
    timer_.start(options_.request_timeout, [this, number] {
      if (number == number_ && phase_ == Phase::kReading) {
        refuse(408);
        run();
      }
    });
  }
  Parser::Taken taken = parser_->put(input_);
  input_.erase(0, taken.bytes);
  if (taken.refusal != 0) {
    refuse(taken.refusal);
    return true;
  }
  if (parser_->done()) {
    dispatch();
    return true;
  }
  return false;
}

void Server::Session::dispatch() {
  auto message = parser_->take();
  head_ = message.method() == beast::verb::head;
  keep_alive_ = message.version() >= 11 && message.keep_alive() && !draining_;
  phase_ = Phase::kHandling;
  auto target = split_target({message.target().data(), message.target().size()});
  bool http11 = message.version() >= 11;
  // RFC 9112 3.2: a request without one Host is refused.
  auto hosts = std::distance(message.equal_range(beast::field::host).first,
                             message.equal_range(beast::field::host).second);
  if (!target || hosts > 1 || (http11 && hosts != 1)) {
    refuse(400);
    return;
  }
  Request request;
  request.method = text_of(message.method_string());
  if (std::find(options_.methods.begin(), options_.methods.end(), request.method) ==
      options_.methods.end()) {
    answer(number_, {.status = 405,
                     .content_type = "text/plain; charset=utf-8",
                     .headers = {{"Allow", fmt::format("{}", fmt::join(options_.methods, ", "))}},
                     .body = "Method Not Allowed\n"});
    return;
  }
  request.path = std::move(target->first);
  request.query = std::move(target->second);
  for (const auto& field : message) {
    request.headers.push_back({text_of(field.name_string()), text_of(field.value())});
  }
  request.body = std::move(message.body());
  auto server = server_.lock();
  if (!server) {
    close();
    return;
  }
  auto route = server->routes.find(request.path);
  if (route == server->routes.end()) {
    route = server->routes.find("");
  }
  if (route == server->routes.end()) {
    answer(number_, {.status = 404,
                     .content_type = "text/plain; charset=utf-8",
                     .body = "404 page not found\n"});
    return;
  }
  hand_over(route->second, std::move(request));
}

// The one answer to a request; going away unused is an answer, too.
class Answer {
 public:
  using Send = std::function<void(Response)>;
  Answer(io::Loop& loop, Send send) : loop_(&loop), send_(std::move(send)) {}
  Answer(Answer&& other) noexcept
      : loop_(other.loop_), send_(std::exchange(other.send_, nullptr)) {}
  Answer& operator=(Answer&&) = delete;
  ~Answer() {
    if (send_) {
      (*this)({.status = 500,
               .content_type = "text/plain; charset=utf-8",
               .body = "Internal Server Error\n"});
    }
  }
  void operator()(Response response) {
    Send send = std::exchange(send_, nullptr);
    if (!send) {
      return;
    }
    if (loop_->on_loop()) {
      send(std::move(response));
    } else {
      loop_->post([send = std::move(send), response = std::move(response)]() mutable {
        send(std::move(response));
      });
    }
  }

 private:
  io::Loop* loop_;
  Send send_;
};

void Server::Session::hand_over(const Handler& handler, Request request) {
  std::uint64_t number = number_;
  timer_.start(options_.request_timeout, [this, number] {
    answer(number, {.status = 503,
                    .content_type = "text/plain; charset=utf-8",
                    .body = "Service Unavailable\n"});
  });
  auto peer = connection_->peer();
  request.peer = peer.get();
  std::weak_ptr<Session> weak = weak_from_this();
  handler(request, Answer(loop_, [weak, number](Response response) {
            if (auto self = weak.lock()) {
              self->answer(number, std::move(response));
            }
          }));
}

// No effect for an earlier request, or when the connection has gone.
void Server::Session::answer(std::uint64_t number, Response response) {
  if (number != number_ || phase_ != Phase::kHandling) {
    return;
  }
  keep_alive_ = keep_alive_ && !draining_;
  bool bodiless = response.status == 204 || response.status == 304 || response.status < 200;
  output_ = fmt::format("HTTP/1.1 {} {}\r\nDate: {}\r\n", response.status,
                        reason_phrase(response.status), format_date(loop_.clock().now()));
  if (!response.content_type.empty() && !splits_header(response.content_type)) {
    output_ += fmt::format("Content-Type: {}\r\n", response.content_type);
  }
  for (const Header& header : response.headers) {
    if (!splits_header(header.name) && !splits_header(header.value)) {
      output_ += fmt::format("{}: {}\r\n", header.name, header.value);
    }
  }
  if (!bodiless) {
    output_ += fmt::format("Content-Length: {}\r\n", response.body.size());
  }
  output_ += keep_alive_ ? "\r\n" : "Connection: close\r\n\r\n";
  if (!head_ && !bodiless) {
    output_ += response.body;
  }
  written_ = 0;
  phase_ = Phase::kWriting;
  timer_.start(options_.request_timeout, [this] { close(); });
  run();
}

// Answers a request that was not understood; the connection ends with it.
void Server::Session::refuse(int status, std::vector<Header> headers) {
  phase_ = Phase::kHandling;
  keep_alive_ = false;
  head_ = false;
  input_.clear();
  answer(number_, {.status = status,
                   .content_type = "text/plain; charset=utf-8",
                   .headers = std::move(headers),
                   .body = fmt::format("{}\n", reason_phrase(status))});
}

// True when the response is out and something else may go on.
bool Server::Session::write_some() {
  while (written_ < output_.size()) {
    io::IoResult put = connection_->write(std::string_view(output_).substr(written_));
    if (put.status == io::IoStatus::kWouldBlock) {
      return false;
    }
    if (put.status != io::IoStatus::kOk) {
      close();
      return false;
    }
    written_ += put.bytes;
  }
  output_.clear();
  if (keep_alive_ && !draining_) {
    next_request();
  } else {
    linger();
  }
  return true;
}

void Server::Session::linger() {
  phase_ = Phase::kLingering;
  connection_->shutdown_write();
  timer_.start(kLingerTimeout, [this] { close(); });
}

}  // namespace steeple::http
