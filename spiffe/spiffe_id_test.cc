// SPDX-License-Identifier: Apache-2.0

// Goal: SPIFFE IDs and trust domains are accepted and refused by SPIFFE-ID section 2, with
// go-spiffe's words. Method: the clause by clause list, every byte value in every place, lengths at
// their limits.

#include "spiffe/spiffe_id.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unordered_set>

#include "lib/base/limits.h"

namespace spiffe {
namespace {

constexpr std::string_view kBadDomainChar =
    "trust domain characters are limited to lowercase letters, numbers, dots, dashes, and "
    "underscores";
constexpr std::string_view kBadPathChar =
    "path segment characters are limited to letters, numbers, dots, dashes, and underscores";

std::string why(std::string_view text) {
  auto id = SpiffeId::parse(text);
  return id.ok() ? "" : id.error().message;
}

TEST(SpiffeId, TakesItselfApart) {
  SpiffeId id = SpiffeId::parse("spiffe://example.org/ns/a/sa/B_1.x-y").take();
  EXPECT_EQ(id.text(), "spiffe://example.org/ns/a/sa/B_1.x-y");
  EXPECT_EQ(id.path(), "/ns/a/sa/B_1.x-y");
  EXPECT_EQ(id.trust_domain_name(), "example.org");
  EXPECT_EQ(id.trust_domain(), TrustDomain::parse("example.org").take());
  EXPECT_TRUE(id.member_of(TrustDomain::parse("example.org").take()));
  EXPECT_FALSE(id.member_of(TrustDomain::parse("example.or").take()));
  SpiffeId bare = SpiffeId::parse("spiffe://example.org").take();
  EXPECT_EQ(bare.path(), "");
  EXPECT_EQ(bare, TrustDomain::parse("example.org").take().id());
}

// SPIFFE-ID 2: the scheme is "spiffe"; we read it in lower case only, as go-spiffe.
TEST(SpiffeId, SchemeIsSpiffeInLowerCase) {
  EXPECT_EQ(why(""), "cannot be empty");
  for (std::string_view text : {"example.org/a", "https://example.org/a", "SPIFFE://example.org/a",
                                "Spiffe://example.org", "spiffe:/example.org", "spiffe:",
                                "spiffe:example.org", " spiffe://example.org", "//example.org/a"}) {
    EXPECT_EQ(why(text), "scheme is missing or invalid") << text;
  }
}

// SPIFFE-ID 2.1.
TEST(SpiffeId, TrustDomainIsNotEmpty) {
  EXPECT_EQ(why("spiffe://"), "trust domain is missing");
  EXPECT_EQ(why("spiffe:///a"), "trust domain is missing");
}

TEST(SpiffeId, TrustDomainHasOnlyItsCharacters) {
  constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyz0123456789.-_";
  for (int value = 0; value < 256; ++value) {
    char c = static_cast<char>(value);
    if (c == '/') {
      continue;
    }
    std::string text = std::string("spiffe://a") + c + "b/path";
    bool allowed = kAllowed.find(c) != std::string_view::npos;
    EXPECT_EQ(why(text), allowed ? "" : kBadDomainChar) << value;
  }
}

// SPIFFE-ID 2.1 and 2.3: no user info, port, query, fragment or percent encoding.
TEST(SpiffeId, HasNoOtherUriParts) {
  for (std::string_view text :
       {"spiffe://user@example.org/a", "spiffe://user:pw@example.org/a",
        "spiffe://example.org:80/a", "spiffe://example.org?q", "spiffe://example.org#f",
        "spiffe://[::1]/a", "spiffe://ex%61mple.org/a", "spiffe://Example.org/a"}) {
    EXPECT_EQ(why(text), kBadDomainChar) << text;
  }
  for (std::string_view text : {"spiffe://example.org/a?q", "spiffe://example.org/a#f",
                                "spiffe://example.org/%61", "spiffe://example.org/a b"}) {
    EXPECT_EQ(why(text), kBadPathChar) << text;
  }
}

// SPIFFE-ID 2.2.
TEST(SpiffeId, PathSegmentsHaveOnlyTheirCharacters) {
  constexpr std::string_view kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_/";
  for (int value = 0; value < 256; ++value) {
    char c = static_cast<char>(value);
    std::string text = std::string("spiffe://example.org/a") + c + "b";
    bool allowed = kAllowed.find(c) != std::string_view::npos;
    EXPECT_EQ(why(text), allowed ? "" : kBadPathChar) << value;
  }
}

TEST(SpiffeId, NoEmptyAndNoDotSegments) {
  EXPECT_EQ(why("spiffe://example.org/"), "path cannot have a trailing slash");
  EXPECT_EQ(why("spiffe://example.org/a/"), "path cannot have a trailing slash");
  EXPECT_EQ(why("spiffe://example.org//"), "path cannot contain empty segments");
  EXPECT_EQ(why("spiffe://example.org//a"), "path cannot contain empty segments");
  EXPECT_EQ(why("spiffe://example.org/a//b"), "path cannot contain empty segments");
  for (std::string_view text :
       {"spiffe://example.org/.", "spiffe://example.org/..", "spiffe://example.org/./a",
        "spiffe://example.org/../a", "spiffe://example.org/a/.", "spiffe://example.org/a/..",
        "spiffe://example.org/a/./b", "spiffe://example.org/a/../b"}) {
    EXPECT_EQ(why(text), "path cannot contain dot segments") << text;
  }
  for (std::string_view text : {"spiffe://example.org/...", "spiffe://example.org/.a",
                                "spiffe://example.org/a.", "spiffe://example.org/..a"}) {
    EXPECT_EQ(why(text), "") << text;
  }
}

// SPIFFE-ID 2.3: 2048 bytes for the whole, 255 for the trust domain.
TEST(SpiffeId, LengthsAreLimited) {
  std::string head = "spiffe://example.org/";
  std::string longest = head + std::string(2048 - head.size(), 'a');
  EXPECT_EQ(why(longest), "");
  EXPECT_EQ(why(longest + "a"), "SPIFFE ID is longer than 2048 bytes");
  std::string domain(255, 'a');
  EXPECT_EQ(why("spiffe://" + domain + "/b"), "");
  EXPECT_EQ(why("spiffe://" + domain + "a/b"), "trust domain is too long");
  TrustDomain td = TrustDomain::parse(domain).take();
  EXPECT_TRUE(SpiffeId::make(td, "/" + std::string(2048 - 9 - 255 - 1, 'p')).ok());
  EXPECT_FALSE(SpiffeId::make(td, "/" + std::string(2048 - 9 - 255, 'p')).ok());
}

TEST(SpiffeId, MakeChecksThePathAlone) {
  TrustDomain domain = TrustDomain::parse("example.org").take();
  EXPECT_EQ(SpiffeId::make(domain, "/a/b").take().text(), "spiffe://example.org/a/b");
  EXPECT_EQ(SpiffeId::make(domain, "").take(), domain.id());
  EXPECT_EQ(SpiffeId::make(domain, "a").error().message, "path must have a leading slash");
  EXPECT_EQ(SpiffeId::make(domain, "/").error().message, "path cannot have a trailing slash");
  EXPECT_EQ(SpiffeId::make(domain, "/../x").error().message, "path cannot contain dot segments");
}

TEST(SpiffeId, OrdersAndHashesByItsText) {
  SpiffeId a = SpiffeId::parse("spiffe://example.org/a").take();
  SpiffeId b = SpiffeId::parse("spiffe://example.org/b").take();
  EXPECT_LT(a, b);
  EXPECT_NE(a, b);
  std::unordered_set<SpiffeId> set = {a, b, a};
  EXPECT_EQ(set.size(), 2U);
  EXPECT_NE(a, SpiffeId::parse("spiffe://example.org/A").take()) << "paths are case sensitive";
}

TEST(TrustDomain, IsANameOrAnIdWhoseTrustDomainItTakes) {
  EXPECT_EQ(TrustDomain::parse("example.org").take().name(), "example.org");
  EXPECT_EQ(TrustDomain::parse("spiffe://example.org").take().name(), "example.org");
  EXPECT_EQ(TrustDomain::parse("spiffe://example.org/a/b").take().name(), "example.org");
  EXPECT_EQ(TrustDomain::parse("example.org").take().id_string(), "spiffe://example.org");
}

TEST(TrustDomain, RefusesWhatIsNeither) {
  auto refusal = [](std::string_view text) { return TrustDomain::parse(text).error().message; };
  EXPECT_EQ(refusal(""), "trust domain is missing");
  EXPECT_EQ(refusal("Example.org"), kBadDomainChar);
  EXPECT_EQ(refusal("example.org/a"), kBadDomainChar);
  EXPECT_EQ(refusal("example.org:80"), kBadDomainChar);
  EXPECT_EQ(refusal("https://example.org"), "scheme is missing or invalid");
  EXPECT_EQ(refusal("spiffe:/example.org"), "scheme is missing or invalid");
  EXPECT_EQ(refusal("spiffe://example.org/a/"), "path cannot have a trailing slash");
  EXPECT_EQ(refusal(std::string(256, 'a')), "trust domain is too long");
}

TEST(ValidatePath, EmptyIsAllowed) {
  EXPECT_TRUE(validate_path("").ok());
  EXPECT_TRUE(validate_path("/a").ok());
  EXPECT_FALSE(validate_path("a").ok());
}

}  // namespace
}  // namespace spiffe
