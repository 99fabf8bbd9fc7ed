// SPDX-License-Identifier: Apache-2.0

// Goal: an Error survives the wire whole, and what the wire may hold instead becomes an Error.

#include "lib/rpc/status.h"

#include <gtest/gtest.h>

namespace steeple::rpc {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(Status, every_code_and_detail_comes_back) {
  for (int code = 1; code <= 16; ++code) {
    Error error{static_cast<Code>(code), "why: \"x\"\n%41 \xc3\xa4"};
    error.details.push_back({"type.googleapis.com/a.B", std::string("\0\xff", 2)});
    StatusHeaders wire = encode_status(error);
    EXPECT_EQ(wire.details_bin->find('='), std::string::npos);
    Result<void> back = decode_status(wire.grpc_status, *wire.grpc_message, *wire.details_bin);
    EXPECT_EQ(back.error().code, error.code);
    EXPECT_EQ(back.error().message, error.message);
    ASSERT_EQ(back.error().details.size(), 1U);
    EXPECT_EQ(back.error().details[0].value, error.details[0].value);
  }
  EXPECT_TRUE(decode_status("0", "", "").ok());
  EXPECT_FALSE(encode_status({}).grpc_message);
}

TEST(Status, foreign_trailers_never_pass_as_success) {
  for (const char* text : {"", "x", "-1", "1x", "999999", " 0", "0 "}) {
    EXPECT_FALSE(decode_status(text, "", "").ok()) << text;
  }
  Result<void> broken = decode_status("5", "m", "!!!not base64");
  EXPECT_EQ(broken.error().code, Code::kNotFound);
  EXPECT_TRUE(broken.error().details.empty());
}

TEST(Status, messages_are_percent_encoded_and_malformed_escapes_kept) {
  EXPECT_EQ(percent_encode("a b%c\n\xc3\xa4~"), "a b%25c%0A%C3%A4~");
  EXPECT_EQ(percent_decode("a b%25c%0A%C3%a4~"), "a b%c\n\xc3\xa4~");
  EXPECT_EQ(percent_decode("100% %zz %4"), "100% %zz %4");
  EXPECT_EQ(percent_decode("%41"), "A");
}

TEST(Status, timeouts_round_up_and_fit_eight_digits) {
  EXPECT_EQ(encode_timeout(seconds(0)), "0n");
  EXPECT_EQ(encode_timeout(milliseconds(5)), "5000000n");
  EXPECT_EQ(encode_timeout(Duration(100'000'001)), "100001u");
  EXPECT_EQ(encode_timeout(hours(24)), "86400000m");
  EXPECT_EQ(*decode_timeout("1H"), hours(1));
  EXPECT_EQ(*decode_timeout("99999999H"), Duration::max());
  EXPECT_EQ(*decode_timeout("100m"), milliseconds(100));
  for (const char* bad : {"", "1", "S", "123456789S", "1x", "-1S", "1.S", "+1S"}) {
    EXPECT_FALSE(decode_timeout(bad).ok()) << bad;
  }
}

TEST(Status, the_cli_text_is_gos) {
  EXPECT_EQ(go_text(permission_denied("no identity issued")),
            "rpc error: code = PermissionDenied desc = no identity issued");
}

TEST(Status, resets_and_http_statuses_map_as_in_grpc_go) {
  EXPECT_EQ(error_of_reset(7).code, Code::kUnavailable);
  EXPECT_EQ(error_of_reset(8).code, Code::kCancelled);
  EXPECT_EQ(error_of_reset(11).code, Code::kResourceExhausted);
  EXPECT_EQ(error_of_reset(99).code, Code::kUnknown);
  EXPECT_EQ(error_of_http_status(404).code, Code::kUnimplemented);
  EXPECT_EQ(error_of_http_status(503).message,
            "unexpected HTTP status code received from server: 503 (Service Unavailable)");
}

}  // namespace
}  // namespace steeple::rpc
