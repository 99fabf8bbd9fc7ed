// SPDX-License-Identifier: Apache-2.0

#include "lib/telemetry/log_output.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <limits.h>
#include <poll.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/base_sink.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "lib/base/guarded.h"
#include "lib/io/file_descriptor.h"

namespace steeple {
namespace {

enum class Layout : std::uint8_t { kPlain, kText, kJson };

Result<Layout> parse_layout(const std::string& text) {
  if (text.empty()) {
    return Layout::kPlain;
  }
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (lower == "text") {
    return Layout::kText;
  }
  if (lower == "json") {
    return Layout::kJson;
  }
  return invalid_argument(fmt::format("unknown logger format: \"{}\"", text));
}

Result<io::FileDescriptor> open_file(const std::string& path) {
  io::FileDescriptor file(
      ::open(path.c_str(), O_APPEND | O_CREAT | O_WRONLY | O_CLOEXEC | O_NOCTTY, 0640));
  if (!file.valid()) {
    return errno_error(errno, fmt::format("open {}", path));
  }
  return file;
}

// spdlog's sink for lines that are laid out already. Locking is the owner's.
class LineSink final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 public:
  explicit LineSink(int fd) : fd_(fd) {}

  void set_fd(int fd) { fd_ = fd; }
  // Whether the last line went out whole.
  bool written() const { return written_; }

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    std::string_view line(message.payload.data(), message.payload.size());
    written_ = (!broken_line_ || put("\n")) && put(line);
  }
  void flush_() override {}

 private:
  // In pieces that a pipe takes at once, so that a reader that stalls cannot hold us for long:
  // the first refusal waits, later ones do not until the reader is back.
  bool put(std::string_view text) {
    bool started = false;
    while (!text.empty()) {
      struct pollfd wait = {fd_, POLLOUT, 0};
      int patience = stalled_ ? 0 : static_cast<int>(kLogStallMax.count());
      if (::poll(&wait, 1, patience) == 0) {
        stalled_ = true;
        broken_line_ = broken_line_ || started;
        return false;
      }
      ssize_t count = ::write(fd_, text.data(), std::min<std::size_t>(text.size(), PIPE_BUF));
      if (count < 0 && errno == EINTR) {
        continue;
      }
      if (count < 0) {
        broken_line_ = broken_line_ || started;
        return false;
      }
      stalled_ = false;
      started = true;
      text.remove_prefix(static_cast<std::size_t>(count));
    }
    broken_line_ = false;
    return true;
  }

  int fd_;
  bool stalled_ = false;
  bool broken_line_ = false;
  bool written_ = true;
};

class Output final : public LogSink {
 public:
  Output(io::FileDescriptor file, int fd, std::string path, Layout layout, bool source_location)
      : path_(std::move(path)), layout_(layout), source_location_(source_location) {
    auto state = state_.lock();
    state->file = std::move(file);
    state->sink = std::make_shared<LineSink>(fd);
    state->logger = std::make_unique<spdlog::logger>("steeple", state->sink);
    state->logger->set_level(spdlog::level::trace);  // Logger decides
  }

  void write(const LogEntry& entry) override {
    std::string line = lay_out(entry);
    auto state = state_.lock();
    if (state->lost > 0) {
      LogField count("count", state->lost);
      state->lost =
          put(*state,
              lay_out(
                  {entry.time, LogLevel::kWarn, "Log lines were dropped", {&count}, entry.where}))
              ? 0
              : state->lost;
    }
    state->lost += put(*state, line) ? 0U : 1U;
  }

  Result<void> reopen() override {
    if (path_.empty()) {
      return {};
    }
    io::FileDescriptor file =
        TRY(open_file(path_).during(fmt::format("unable to reopen {}", path_)));
    auto state = state_.lock();
    state->sink->set_fd(file.get());
    state->file = std::move(file);
    return {};
  }

 private:
  struct State {
    io::FileDescriptor file;  // invalid: the descriptor is the caller's
    std::shared_ptr<LineSink> sink;
    std::unique_ptr<spdlog::logger> logger;
    std::uint64_t lost = 0;  // lines since the reader stalled
  };

  static bool put(State& state, std::string_view line) {
    state.logger->log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
    return state.sink->written();
  }

  std::string lay_out(const LogEntry& entry) const {
    return layout_ == Layout::kJson
               ? format_log_json(entry, source_location_)
               : format_log_text(entry, layout_ == Layout::kText, source_location_);
  }

  const std::string path_;
  const Layout layout_;
  const bool source_location_;
  Guarded<State> state_;
};

}  // namespace

Result<Logger> open_log_on(int fd, const LogConfig& config, Clock& clock) {
  Layout layout = TRY(parse_layout(config.format));
  LogLevel level = TRY(parse_log_level(config.level));
  return Logger(std::make_shared<Output>(io::FileDescriptor(), fd, std::string(), layout,
                                         config.source_location),
                clock, level);
}

Result<Logger> open_log(const LogConfig& config, Clock& clock) {
  if (config.file.empty()) {
    return open_log_on(STDOUT_FILENO, config, clock);
  }
  Layout layout = TRY(parse_layout(config.format));
  LogLevel level = TRY(parse_log_level(config.level));
  io::FileDescriptor file = TRY(open_file(config.file));
  int fd = file.get();
  return Logger(
      std::make_shared<Output>(std::move(file), fd, config.file, layout, config.source_location),
      clock, level);
}

}  // namespace steeple
