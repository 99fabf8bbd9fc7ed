// SPDX-License-Identifier: Apache-2.0

// Goal: log lines are logrus's byte for byte, levels and fields work, and a reader that stalls
// neither blocks nor goes unnoticed. Method: real output on pipes and files, a fake clock. The
// expected lines were written by logrus 1.9 with the same fields.

#include "lib/telemetry/log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "lib/io/file_descriptor.h"
#include "lib/io/worker_pool.h"
#include "lib/telemetry/fake_log.h"
#include "lib/telemetry/log_output.h"

namespace steeple {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK), 0);
    // The writer's end blocks, as standard output does.
    EXPECT_EQ(::fcntl(ends[1], F_SETFL, 0), 0);
    reader = io::FileDescriptor(ends[0]);
    writer = io::FileDescriptor(ends[1]);
  }
  std::string read_all() {
    std::string out;
    std::array<char, 65536> buffer{};
    for (ssize_t n; (n = ::read(reader.get(), buffer.data(), buffer.size())) > 0;) {
      out.append(buffer.data(), static_cast<std::size_t>(n));
    }
    return out;
  }
  io::FileDescriptor reader, writer;
};

class LogTest : public testing::Test {
 protected:
  LogTest() {
    ::setenv("TZ", "UTC", 1);
    ::tzset();
  }
  Logger open(const LogConfig& config) {
    return open_log_on(pipe_.writer.get(), config, clock_).take();
  }
  std::string read() { return pipe_.read_all(); }

  FakeClock clock_;
  Pipe pipe_;
};

TEST_F(LogTest, text_is_logruss_with_sorted_and_quoted_fields) {
  Logger log = open({}).subsystem("ca_manager");
  LOG_INFO(log, "X509 CA prepared", {"slot", "A"}, {"expiration", "2030-01-02 03:04:05 +0000 UTC"},
           {"id", "spiffe://td/x"}, {"empty", ""}, {"count", 3}, {"ok", true}, {"share", 0.5});
  EXPECT_EQ(read(),
            "time=\"2030-01-01T00:00:00Z\" level=info msg=\"X509 CA prepared\" count=3 empty= "
            "expiration=\"2030-01-02 03:04:05 +0000 UTC\" id=\"spiffe://td/x\" ok=true share=0.5 "
            "slot=A subsystem_name=ca_manager\n");
}

TEST_F(LogTest, text_escapes_as_go_quotes) {
  Logger log = open({});
  LOG_WARN(log, "a\n\"b\"\t\\\x01\x7f\xff é \xE2\x80\xA8 \xF0\x9F\x98\x80",
           {"error", not_found("no such 'x'")}, {"path", "a/b@c^d+e.f_g-h"});
  EXPECT_EQ(read(),
            "time=\"2030-01-01T00:00:00Z\" level=warning "
            "msg=\"a\\n\\\"b\\\"\\t\\\\\\x01\\x7f\\xff é \\u2028 \xF0\x9F\x98\x80\" "
            "error=\"no such 'x'\" path=a/b@c^d+e.f_g-h\n");
}

TEST_F(LogTest, json_has_sorted_keys_and_typed_values) {
  clock_.advance(std::chrono::milliseconds(1500));
  Logger log = open({.format = "JSON"});
  LOG_ERROR(log, "<a> & \"b\"\n\x01\xff", {"n", -3}, {"u", 18446744073709551615ULL}, {"b", false},
            {"time", "mine"}, {"level", 1});
  EXPECT_EQ(read(),
            "{\"b\":false,\"fields.level\":1,\"fields.time\":\"mine\",\"level\":\"error\","
            "\"msg\":\"\\u003ca\\u003e \\u0026 \\\"b\\\"\\n\\u0001\\ufffd\",\"n\":-3,"
            "\"time\":\"2030-01-01T00:00:01.5Z\",\"u\":18446744073709551615}\n");
}

TEST_F(LogTest, a_named_text_format_shows_fractions_of_seconds) {
  clock_.advance(std::chrono::microseconds(120));
  LOG_INFO(open({.format = "text"}), "x");
  LOG_INFO(open({}), "x");
  EXPECT_EQ(read(),
            "time=\"2030-01-01T00:00:00.00012Z\" level=info msg=x\n"
            "time=\"2030-01-01T00:00:00Z\" level=info msg=x\n");
}

TEST_F(LogTest, times_are_local_with_their_offset) {
  ::setenv("TZ", "IST-5:30", 1);
  ::tzset();
  LOG_INFO(open({}), "x");
  EXPECT_THAT(read(), HasSubstr("time=\"2030-01-01T05:30:00+05:30\""));
}

TEST_F(LogTest, source_location_is_file_line_and_function) {
  LOG_INFO(open({.source_location = true}), "x");
  EXPECT_THAT(read(), testing::ContainsRegex("msg=x file=\"log_test.cc:[0-9]+\" func=\".*\"\n"));
}

TEST_F(LogTest, the_level_gates_and_changes_at_run_time) {
  Logger log = open({.level = "WARN"});
  Logger child = log.with({"k", "v"});
  int evaluated = 0;
  LOG_INFO(child, "no", {"n", ++evaluated});
  EXPECT_EQ(evaluated, 0);
  EXPECT_EQ(read(), "");
  child.set_level(LogLevel::kDebug);
  LOG_DEBUG(log, "yes");
  EXPECT_THAT(read(), HasSubstr("msg=yes"));
  EXPECT_EQ(log.level(), LogLevel::kDebug);
  EXPECT_EQ(log.launch_level(), LogLevel::kWarn);
  log.reset_level();
  EXPECT_EQ(child.level(), LogLevel::kWarn);
}

TEST_F(LogTest, a_later_field_replaces_an_earlier_one) {
  Logger log = open({}).with({"k", "old"}).with({"k", "mid"});
  LOG_INFO(log, "x", {"k", "new"});
  LOG_INFO(log, "x");
  EXPECT_THAT(read(), testing::AllOf(HasSubstr("msg=x k=new\n"), HasSubstr("msg=x k=mid\n")));
}

TEST_F(LogTest, unknown_levels_and_formats_are_refused) {
  EXPECT_EQ(open_log_on(1, {.level = "loud"}, clock_).error().message,
            "not a valid logrus Level: \"loud\"");
  EXPECT_EQ(open_log_on(1, {.format = "xml"}, clock_).error().message,
            "unknown logger format: \"xml\"");
  for (auto [text, level] : {std::pair("WARNING", LogLevel::kWarn),
                             {"Warn", LogLevel::kWarn},
                             {"panic", LogLevel::kPanic},
                             {"TRACE", LogLevel::kTrace}}) {
    EXPECT_EQ(parse_log_level(text).take(), level);
  }
}

TEST_F(LogTest, a_stalled_reader_costs_lines_and_is_told_how_many) {
  Logger log = open({});
  std::string big(8000, 'x');
  for (int i = 0; i < 50; ++i) {  // far more than the pipe holds
    LOG_INFO(log, big);
  }
  std::string first = read();
  EXPECT_LT(first.size(), 50U * 8000);
  LOG_INFO(log, "back");
  std::string later = read();
  EXPECT_THAT(later, HasSubstr("level=warning msg=\"Log lines were dropped\" count="));
  EXPECT_THAT(later, testing::EndsWith("level=info msg=back\n"));
  std::size_t whole = 0;
  std::string all = first + later;
  for (std::size_t at = 0; (at = all.find("\n", at)) != std::string::npos; ++at) {
    ++whole;
  }
  EXPECT_EQ(all.back(), '\n');
  EXPECT_GE(whole, 3U);
}

TEST_F(LogTest, a_file_is_private_to_owner_and_group_and_can_be_reopened) {
  auto folder = std::filesystem::temp_directory_path() / ("log_test." + std::to_string(::getpid()));
  std::filesystem::create_directory(folder);
  std::string path = folder / "server.log";
  Logger log = open_log({.file = path}, clock_).take();
  LOG_INFO(log, "one");
  struct stat info{};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777 & ~0640U, 0U);
  std::filesystem::rename(path, path + ".1");
  LOG_INFO(log, "two");
  EXPECT_TRUE(log.reopen().ok());
  LOG_INFO(log, "three");
  EXPECT_GT(std::filesystem::file_size(path + ".1"), std::filesystem::file_size(path));
  std::filesystem::remove_all(folder);
  auto gone = log.reopen();
  EXPECT_EQ(gone.error().message,
            "unable to reopen " + path + ": open " + path + ": no such file or directory");
  LOG_INFO(log, "still works on the old file");
}

TEST_F(LogTest, lines_of_many_threads_stay_whole) {
  std::string path =
      std::filesystem::temp_directory_path() / ("log_test_threads." + std::to_string(::getpid()));
  Logger log = open_log({.file = path}, clock_).take();
  {
    io::WorkerPool workers;
    for (int task = 0; task < 8; ++task) {
      ASSERT_TRUE(workers
                      .submit([log, task] {
                        Logger mine = log.with({"task", task});
                        for (int i = 0; i < 200; ++i) {
                          LOG_INFO(mine, "a line of one of many threads");
                        }
                        log.set_level(LogLevel::kDebug);
                        EXPECT_TRUE(log.reopen().ok());
                      })
                      .ok());
    }
  }  // waits for them
  std::ifstream file(path);
  int lines = 0;
  for (std::string line; std::getline(file, line); ++lines) {
    EXPECT_THAT(line, testing::MatchesRegex("time=\"2030-01-01T00:00:00Z\" level=info msg=\"a line "
                                            "of one of many threads\" task=[0-7]"));
  }
  EXPECT_EQ(lines, 1600);
  std::filesystem::remove(path);
}

TEST(LoggerTest, a_default_logger_discards) {
  Logger log;
  LOG_ERROR(log, "x", {"a", 1});
  log.with({"a", 1}).write(LogLevel::kError, "x");
  EXPECT_FALSE(log.enabled(LogLevel::kPanic));
}

TEST(LoggerTest, the_captured_log_shows_lines_and_fields) {
  CapturedLog log;
  LOG_INFO(log.logger().with({"a", 1}), "hello", {"b", true}, {"e", internal("bad")});
  LOG_DEBUG(log, "other");
  ASSERT_EQ(log.lines("hello").size(), 1U);
  EXPECT_THAT(log.lines("hello")[0].fields,
              ElementsAre(std::pair("a", "1"), std::pair("b", "true"), std::pair("e", "bad")));
  EXPECT_TRUE(log.has("other"));
  log.clear();
  EXPECT_FALSE(log.has("other"));
}

}  // namespace
}  // namespace steeple
