// SPDX-License-Identifier: Apache-2.0

// Goal: what a daemon does at its start takes effect. Method: on the test's own process.

#include "lib/cli/daemon.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "workload.pb.h"

namespace steeple::cli {
namespace {

// A server that a service manager had started with 1,024 files took no more than 1,018 connections.
TEST(Daemon, ASoftLimitOfOpenFilesIsRaisedToTheHardOne) {
  rlimit saved{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &saved), 0);
  rlimit low{saved.rlim_max / 2, saved.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  EXPECT_TRUE(raise_file_limit().ok());
  rlimit now{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &now), 0);
  EXPECT_EQ(now.rlim_cur, saved.rlim_max);
  EXPECT_EQ(now.rlim_max, saved.rlim_max);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &saved), 0);
}

TEST(Daemon, MessagesThatAreNotUtf8WriteNothingToStandardError) {
  silence_protobuf();
  ::testing::internal::CaptureStderr();
  ::JWTSVIDRequest request;
  EXPECT_FALSE(request.ParseFromString("\x12\x01\xff"));
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace steeple::cli
