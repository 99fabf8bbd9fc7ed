// SPDX-License-Identifier: Apache-2.0

// A client of lib/rpc for other implementations to judge. `rpc_echo_client WHERE COMMAND ...` makes
// one call and prints what came, one line each; the last line is "status CODE MESSAGE" followed by
// " DETAIL-TYPE" for each detail. WHERE is unix:PATH or tcp:HOST:PORT. One thread.
//
//   unary METHOD TEXT [timeout-ms [name value ...]]   prints "reply TEXT"
//   big METHOD SIZE                                   a request of SIZE bytes, prints "bytes N"
//   stream METHOD TEXT                                prints "message N-BYTES" for each
//   bidi METHOD COUNT SIZE                            sends, half-closes, prints "message N-BYTES"
//   cancel METHOD                                     leaves after the first message

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/random.h"
#include "lib/io/asio_loop.h"
#include "lib/io/socket_network.h"
#include "lib/rpc/client.h"

namespace steeple {
namespace {

using Words = std::vector<std::string>;

io::Endpoint parse_endpoint(const std::string& text) {
  if (text.starts_with("unix:")) {
    return io::Endpoint::unix_socket(text.substr(5));
  }
  const std::size_t colon = text.rfind(':');
  return io::Endpoint::tcp(text.substr(4, colon - 4),
                           static_cast<std::uint16_t>(std::atoi(text.c_str() + colon + 1)));
}

void print_status(const Result<void>& done) {
  if (done.ok()) {
    fmt::print("status OK\n");
    return;
  }
  std::string line =
      fmt::format("status {} {}", code_name(done.error().code), done.error().message);
  for (const ErrorDetail& detail : done.error().details) {
    line += " " + detail.type_url;
  }
  fmt::print("{}\n", line);
}

std::string word(const Words& words, std::size_t index) {
  return index < words.size() ? words[index] : std::string();
}

std::size_t number(const Words& words, std::size_t index) {
  return static_cast<std::size_t>(std::strtoull(word(words, index).c_str(), nullptr, 10));
}

// The calls of this program, on its loop.
class Program {
 public:
  explicit Program(const std::string& where)
      : channel_({loop_, network_, nullptr, system_random()}, parse_endpoint(where), nullptr) {}

  // Empty: done. Else what is wrong with the command.
  Result<void> run(const Words& words) {
    const std::string command = word(words, 0);
    if (command == "unary" || command == "big") {
      unary(words, command == "big");
    } else if (command == "stream") {
      stream(words, {word(words, 2)}, false);
    } else if (command == "bidi") {
      stream(words, Words(number(words, 2), std::string(number(words, 3), 'y')), false);
    } else if (command == "cancel") {
      stream(words, {word(words, 2)}, true);
    } else {
      return invalid_argument("unknown command \"" + command + "\"");
    }
    return {};
  }

 private:
  static rpc::CallOptions options(const Words& words) {
    rpc::CallOptions result;
    if (const std::size_t timeout = number(words, 3); timeout != 0) {
      result.timeout = std::chrono::milliseconds(timeout);
    }
    for (std::size_t i = 4; i + 1 < words.size(); i += 2) {
      result.metadata.emplace_back(words[i], words[i + 1]);
    }
    return result;
  }

  void unary(const Words& words, bool big) {
    Bytes request = big ? Bytes(number(words, 2), 'z') : word(words, 2);
    auto call = channel_.unary(
        word(words, 1), std::move(request), big ? rpc::CallOptions{} : options(words),
        [this, big](Result<Bytes> reply) {
          if (reply.ok()) {
            big ? fmt::print("bytes {}\n", reply->size()) : fmt::print("reply {}\n", *reply);
            finish({});
          } else {
            finish(reply.error());
          }
        });
    loop_.run();
  }

  void stream(const Words& words, const Words& messages, bool leave) {
    rpc::StreamReply reply;
    reply.on_message = [this, leave](ByteView message) {
      if (finished_) {
        return;
      }
      fmt::print("message {}\n", message.size());
      if (leave) {
        finish(cancelled("left by choice"));
        loop_.post([this] { call_.reset(); });
      }
    };
    reply.on_done = [this](Result<void> done) { finish(std::move(done)); };
    call_ = channel_.stream(word(words, 1), {}, std::move(reply));
    for (const std::string& message : messages) {
      call_->send(message);
    }
    call_->close_send();
    loop_.run();
    call_.reset();
    // The reset has to leave before the program does.
    loop_.post([this] { timer_.start(std::chrono::milliseconds(50), [this] { loop_.stop(); }); });
    loop_.run();
  }

  void finish(Result<void> done) {
    if (!std::exchange(finished_, true)) {
      print_status(done);
    }
    loop_.stop();
  }

  io::AsioLoop loop_;
  io::SocketNetwork network_;
  io::Timer timer_{loop_};
  rpc::Channel channel_;
  std::unique_ptr<rpc::ClientCall> call_;
  bool finished_ = false;
};

}  // namespace
}  // namespace steeple

int main(int argc, char** argv) {
  if (argc < 3) {
    fmt::print(stderr, "rpc_echo_client WHERE COMMAND ...\n");
    return 1;
  }
  steeple::Program program(argv[1]);
  const steeple::Result<void> done = program.run(steeple::Words(argv + 2, argv + argc));
  if (!done.ok()) {
    fmt::print(stderr, "{}\n", done.error().message);
    return 1;
  }
  return 0;
}
