// SPDX-License-Identifier: Apache-2.0

// Goal: HTTP/1.1 is spoken correctly, limits hold, and stopping is graceful. Method: the server on
// the simulated network, which cuts bytes into pieces as its seed says; time is the scheduler's.
// One test uses real sockets, with the fetch client on a worker.

#include "lib/http/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "lib/http/fetch.h"
#include "lib/io/asio_loop.h"
#include "lib/io/fake_network.h"
#include "lib/io/socket_network.h"
#include "lib/io/worker_pool.h"

namespace steeple::http {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;
using namespace std::chrono_literals;

// A client that sends text and gathers what comes back.
class Client {
 public:
  explicit Client(std::unique_ptr<io::Connection> connection) : connection_(std::move(connection)) {
    connection_->on_ready([this](bool, bool) { turn(); });
    connection_->interest(true, true);
  }
  void send(std::string text) {
    to_send_ += text;
    connection_->interest(true, true);
  }
  std::string received;
  bool closed = false;

 private:
  void turn() {
    while (!to_send_.empty()) {
      auto put = connection_->write(to_send_);
      if (put.status != io::IoStatus::kOk) {
        break;
      }
      to_send_.erase(0, put.bytes);
    }
    std::array<char, 4096> buffer{};
    while (true) {
      auto got = connection_->read(buffer);
      if (got.status != io::IoStatus::kOk) {
        closed = closed || got.status != io::IoStatus::kWouldBlock;
        break;
      }
      received.append(buffer.data(), got.bytes);
    }
    connection_->interest(!closed, !closed && !to_send_.empty());
  }

  std::unique_ptr<io::Connection> connection_;
  std::string to_send_;
};

class HttpServer : public testing::Test {
 protected:
  Server& open(ServerOptions options = {}) {
    server_.emplace(loop_, std::move(options));
    server_->route("/live", [](const Request& request, Respond respond) {
      respond({.content_type = "application/json", .body = "{\"q\":\"" + request.query + "\"}\n"});
    });
    server_->route("/echo", [](const Request& request, Respond respond) {
      respond({.headers = {{"X-Method", request.method},
                           {"X-Agent", std::string(request.header("user-AGENT"))}},
               .body = request.body});
    });
    server_->route("/later", [this](const Request&, Respond respond) {
      later_.push_back(std::move(respond));
    });
    server_->route("/never", [](const Request&, const Respond&) {});
    EXPECT_TRUE(server_->listen(*network_, io::Endpoint::tcp("server", 80)).ok());
    return *server_;
  }
  std::unique_ptr<Client> connect() {
    std::unique_ptr<Client> client;
    network_->connect(loop_, io::Endpoint::tcp("server", 80), 10s, [&](auto connected) {
      client = std::make_unique<Client>(std::move(connected).take());
    });
    scheduler_.run_while_not([&] { return client != nullptr; }, 10s);
    return client;
  }
  // Everything the server answers to the text within the time.
  std::string ask(std::string text, Duration time = 500ms) {
    auto client = connect();
    client->send(std::move(text));
    scheduler_.run_for(time);
    return client->received;
  }

  FakeClock clock_;
  io::SimScheduler scheduler_{clock_, 42};
  io::SimSwitch switch_{scheduler_};
  io::SimLoop loop_{scheduler_};
  std::unique_ptr<io::Network> network_ = switch_.join("server");
  std::vector<Respond> later_;
  std::optional<Server> server_;
};

TEST_F(HttpServer, answers_a_get_and_keeps_the_connection) {
  open();
  auto client = connect();
  client->send("GET /live?a=b HTTP/1.1\r\nHost: x\r\n\r\n");
  scheduler_.run_for(500ms);
  EXPECT_EQ(client->received,
            "HTTP/1.1 200 OK\r\nDate: Tue, 01 Jan 2030 00:00:00 GMT\r\nContent-Type: "
            "application/json\r\nContent-Length: 12\r\n\r\n{\"q\":\"a=b\"}\n");
  client->received.clear();
  client->send("HEAD /live HTTP/1.1\r\nHost: x\r\n\r\n");
  scheduler_.run_for(500ms);
  EXPECT_THAT(client->received, AllOf(HasSubstr("Content-Length: 9\r\n"), EndsWith("\r\n\r\n")));
  EXPECT_FALSE(client->closed);
}

TEST_F(HttpServer, many_requests_in_one_piece_are_answered_in_order) {
  open();
  std::string all;
  for (int i = 0; i < 100; ++i) {
    all += "GET /live?" + std::to_string(i) + " HTTP/1.1\r\nHost: x\r\n\r\n";
  }
  std::string answer = ask(all, 5s);
  std::size_t at = 0;
  for (int i = 0; i < 100; ++i) {
    at = answer.find("{\"q\":\"" + std::to_string(i) + "\"}", at);
    ASSERT_NE(at, std::string::npos) << i;
  }
}

TEST_F(HttpServer, bodies_come_whole_plain_or_chunked) {
  open({.methods = {"GET", "POST"}});
  std::string body(100'000, 'x');
  EXPECT_THAT(ask("POST /echo HTTP/1.1\r\nHost: x\r\nUser-Agent: t\r\nContent-Length: 100000\r\n"
                  "\r\n" +
                      body,
                  10s),
              AllOf(HasSubstr("X-Method: POST\r\nX-Agent: t\r\n"), EndsWith("\r\n\r\n" + body)));
  EXPECT_THAT(ask("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
              EndsWith("\r\n\r\nabcde"));
}

TEST_F(HttpServer, refuses_what_it_does_not_know) {
  open();
  EXPECT_THAT(ask("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"),
              StartsWith("HTTP/1.1 404 Not Found"));
  EXPECT_THAT(ask("DELETE /live HTTP/1.1\r\nHost: x\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 405 "), HasSubstr("Allow: GET, HEAD\r\n")));
  server_->route("", [](const Request& request, Respond respond) {
    respond({.body = "all:" + request.path});
  });
  EXPECT_THAT(ask("GET /x HTTP/1.1\r\nHost: x\r\n\r\n"), EndsWith("all:/x"));
  EXPECT_THAT(ask("GET http://h/y?z HTTP/1.1\r\nHost: h\r\n\r\n"), EndsWith("all:/y"));
}

TEST_F(HttpServer, malformed_requests_get_400_and_the_end) {
  open({.methods = {"GET", "POST"}});
  for (std::string_view bad :
       {"GARBAGE\r\n\r\n", "GET /live HTTP/1.1\r\n\r\n", "GET live HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /live HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "GET /live HTTP/9.9\r\nHost: x\r\n\r\n",
        "GET /live HTTP/1.1\r\nHost: x\r\nA B: c\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
        "0\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"}) {
    auto client = connect();
    client->send(std::string(bad));
    scheduler_.run_for(3s);
    EXPECT_THAT(client->received, StartsWith("HTTP/1.1 400 Bad Request\r\n")) << bad;
    EXPECT_TRUE(client->closed) << bad;
  }
  EXPECT_EQ(server_->connections(), 0U);
}

TEST_F(HttpServer, header_and_body_are_limited) {
  open({.header_bytes_max = 1000, .body_bytes_max = 100, .methods = {"POST"}});
  EXPECT_THAT(ask("POST /echo HTTP/1.1\r\nHost: x\r\nA: " + std::string(2000, 'a'), 3s),
              StartsWith("HTTP/1.1 431 "));
  EXPECT_THAT(ask("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\n\r\n", 3s),
              StartsWith("HTTP/1.1 413 "));
  EXPECT_THAT(ask("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n" +
                      std::string(101, 'x'),
                  3s),
              StartsWith("HTTP/1.1 413 "));
  // Read on for a while after the refusal, but not for ever.
  EXPECT_THAT(ask("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n" +
                      std::string(9'000'000, 'x'),
                  20s),
              StartsWith("HTTP/1.1 413 "));
  EXPECT_EQ(server_->connections(), 0U);
}

TEST_F(HttpServer, connections_are_limited) {
  open({.connections_max = 2});
  auto first = connect();
  auto second = connect();
  auto third = connect();
  scheduler_.run_for(100ms);
  EXPECT_FALSE(first->closed);
  EXPECT_FALSE(second->closed);
  EXPECT_TRUE(third->closed);
}

TEST_F(HttpServer, slow_clients_lose_their_place) {
  open({.request_timeout = 5s, .idle_timeout = 20s});
  auto idle = connect();
  auto slow = connect();
  slow->send("GET /li");
  scheduler_.run_for(4s);
  slow->send("ve HTTP/1.1\r\n");  // more bytes do not buy more time
  scheduler_.run_for(3s);
  EXPECT_THAT(slow->received, StartsWith("HTTP/1.1 408 "));
  EXPECT_TRUE(slow->closed);
  EXPECT_FALSE(idle->closed);
  scheduler_.run_for(15s);
  EXPECT_TRUE(idle->closed);
}

TEST_F(HttpServer, a_handler_may_answer_later) {
  open();
  auto client = connect();
  client->send("GET /later HTTP/1.1\r\nHost: x\r\n\r\nGET /live HTTP/1.1\r\nHost: x\r\n\r\n");
  scheduler_.run_for(1s);
  ASSERT_EQ(later_.size(), 1U);
  EXPECT_EQ(client->received, "");
  later_[0]({.body = "done"});
  later_[0]({.body = "again"});  // no effect
  scheduler_.run_for(1s);
  EXPECT_THAT(client->received, AllOf(HasSubstr("\r\n\r\ndoneHTTP/1.1 200 OK\r\n"),
                                      testing::Not(HasSubstr("again"))));
}

TEST_F(HttpServer, an_answer_that_never_comes_is_500_or_503) {
  open({.request_timeout = 5s});
  EXPECT_THAT(ask("GET /never HTTP/1.1\r\nHost: x\r\n\r\n"), StartsWith("HTTP/1.1 500 "));
  EXPECT_THAT(ask("GET /later HTTP/1.1\r\nHost: x\r\n\r\n", 6s), StartsWith("HTTP/1.1 503 "));
  later_[0]({.body = "too late"});
  scheduler_.run_for(1s);
}

TEST_F(HttpServer, an_answer_after_client_or_server_went_is_harmless) {
  open();
  {
    auto client = connect();
    client->send("GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
    scheduler_.run_for(1s);
  }
  later_.at(0)({.body = "x"});
  scheduler_.run_for(3s);
  EXPECT_EQ(server_->connections(), 0U);
  auto client = connect();
  client->send("GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
  scheduler_.run_for(1s);
  server_.reset();
  later_.at(1)({.body = "x"});
  scheduler_.run_for(3s);
  EXPECT_EQ(client->received, "");
  EXPECT_TRUE(client->closed);
}

TEST_F(HttpServer, a_response_cannot_be_split_by_its_headers) {
  open();
  server_->route("/evil", [](const Request&, Respond respond) {
    respond({.headers = {{"Location", "a\r\nSet-Cookie: b"}, {"Good", "c"}}, .body = ""});
  });
  EXPECT_THAT(ask("GET /evil HTTP/1.1\r\nHost: x\r\n\r\n"),
              AllOf(HasSubstr("Good: c"), testing::Not(HasSubstr("Set-Cookie"))));
}

TEST_F(HttpServer, http_1_0_and_connection_close_end_the_connection) {
  open();
  for (std::string_view text : {"GET /live HTTP/1.0\r\n\r\n",
                                "GET /live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"}) {
    auto client = connect();
    client->send(std::string(text));
    scheduler_.run_for(3s);
    EXPECT_THAT(client->received,
                AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), HasSubstr("Connection: close\r\n")));
    EXPECT_TRUE(client->closed);
  }
}

TEST_F(HttpServer, stopping_lets_a_running_request_end) {
  open();
  auto idle = connect();
  auto busy = connect();
  busy->send("GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
  scheduler_.run_for(1s);
  bool stopped = false;
  server_->stop(10s, [&] { stopped = true; });
  scheduler_.run_for(1s);
  EXPECT_TRUE(idle->closed);
  EXPECT_FALSE(stopped);
  later_.at(0)({.body = "last"});
  scheduler_.run_for(3s);
  EXPECT_THAT(busy->received, AllOf(HasSubstr("Connection: close\r\n"), EndsWith("last")));
  EXPECT_TRUE(busy->closed);
  EXPECT_TRUE(stopped);
}

TEST_F(HttpServer, stopping_ends_at_its_deadline) {
  open();
  auto busy = connect();
  busy->send("GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
  scheduler_.run_for(1s);
  bool stopped = false;
  server_->stop(10s, [&] { stopped = true; });
  scheduler_.run_for(9s);
  EXPECT_FALSE(stopped);
  scheduler_.run_for(2s);
  EXPECT_TRUE(stopped);
  EXPECT_TRUE(busy->closed);
}

// --- real sockets, libcurl ---------------------------------------------------------------------

class Fetch : public testing::Test {
 protected:
  Fetch() {
    server_.route("/bundle", [](const Request&, Respond respond) {
      respond({.content_type = "application/json", .body = std::string(5000, 'b')});
    });
    server_.route("/moved", [](const Request&, Respond respond) {
      respond({.status = 302, .headers = {{"Location", "https://elsewhere.test/"}}});
    });
    server_.route("/slow",
                  [this](const Request&, Respond respond) { kept_.push_back(std::move(respond)); });
    EXPECT_TRUE(server_.listen(network_, io::Endpoint::unix_socket(path_)).ok());
  }
  ~Fetch() override { kept_.clear(); }

  Result<FetchResponse> get(FetchRequest request) {
    request.unix_socket = path_;
    std::optional<Result<FetchResponse>> answer;
    EXPECT_TRUE(workers_
                    .submit([&] {
                      auto got = fetch(request);
                      loop_.post([&, got = std::move(got)]() mutable {
                        answer = std::move(got);
                        loop_.stop();
                      });
                    })
                    .ok());
    loop_.run();
    return std::move(*answer);
  }

  std::string path_ = "/tmp/steeple-fetch-" + std::to_string(::getpid());
  io::AsioLoop loop_;
  io::SocketNetwork network_;
  io::WorkerPool workers_;
  std::vector<Respond> kept_;
  Server server_{loop_, {}};
};

TEST_F(Fetch, gets_a_document_from_a_unix_socket) {
  auto got = get({.url = "http://localhost/bundle"});
  ASSERT_TRUE(got.ok()) << got.error().message;
  EXPECT_EQ(got->status, 200);
  EXPECT_EQ(got->content_type, "application/json");
  EXPECT_EQ(got->body, std::string(5000, 'b'));
}

TEST_F(Fetch, does_not_follow_redirects) {
  auto got = get({.url = "http://localhost/moved"});
  ASSERT_TRUE(got.ok()) << got.error().message;
  EXPECT_EQ(got->status, 302);
}

TEST_F(Fetch, refuses_large_bodies_and_waits_no_longer_than_told) {
  EXPECT_EQ(get({.url = "http://localhost/bundle", .body_bytes_max = 4999}).error().message,
            "response is larger than 4999 bytes");
  EXPECT_EQ(get({.url = "http://localhost/slow", .timeout = 50ms}).error().code,
            Code::kDeadlineExceeded);
}

TEST_F(Fetch, takes_https_only_without_a_socket) {
  for (std::string_view url : {"http://x/", "file:///etc/passwd", "ftp://x/", "x", ""}) {
    EXPECT_EQ(fetch({.url = std::string(url)}).error().code, Code::kInvalidArgument) << url;
  }
  EXPECT_EQ(fetch({.url = "file:///etc/passwd", .unix_socket = path_}).error().code,
            Code::kInvalidArgument);
  EXPECT_EQ(fetch({.url = "https://127.0.0.1:1/", .timeout = 5s}).error().code, Code::kUnavailable);
}

}  // namespace
}  // namespace steeple::http
