// SPDX-License-Identifier: Apache-2.0

// Goal: the pages are the reference's, byte for byte, and so are their refusals; health follows the
// threshold. Method: requests as structs, a source that says what the test wants, a clock that the
// test moves.

#include "oidc/documents.h"

#include <gmock/gmock.h>

#include "lib/base/fake_clock.h"
#include "lib/io/fake_loop.h"
#include "lib/telemetry/fake_log.h"
#include "oidc/health.h"

namespace steeple::oidc {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

class FixedSource final : public JwksSource {
 public:
  void start() override {}
  std::shared_ptr<const KeySet> keys() const override { return set; }
  std::optional<SteadyTime> last_success() const override { return success; }

  std::shared_ptr<const KeySet> set;
  std::optional<SteadyTime> success;
};

crypto::PublicKey reference_key() {
  return crypto::PublicKey::from_ec(
             crypto::KeyKind::kEcP256,
             base64url_decode("iSt7S4ih6QLodw9wf-zdPV8bmAlDJBCRRy24_UAZY70").take(),
             base64url_decode("Gb4gkQCeHj7HCbZzdctcAx9dxoDgC9sudsSG7ZLIWJs").take())
      .take();
}

std::string document(const std::string& issuer, const std::string& keys) {
  return "{\n  \"issuer\": \"" + issuer + "\",\n  \"jwks_uri\": \"" + keys +
         "\",\n"
         R"(  "authorization_endpoint": "",
  "response_types_supported": [
    "id_token"
  ],
  "subject_types_supported": [
    "public"
  ],
  "id_token_signing_alg_values_supported": [
    "RS256",
    "ES256",
    "ES384"
  ]
})";
}

std::string header_of(const http::Response& response, std::string_view name) {
  for (const http::Header& header : response.headers) {
    if (header.name == name) {
      return header.value;
    }
  }
  return {};
}

class OidcDocuments : public ::testing::Test {
 protected:
  OidcDocuments() { config_.domains = {"a.test", "b.test"}; }

  http::Request get(std::vector<http::Header> headers, std::string method = "GET") {
    return {.method = std::move(method),
            .path = "/keys",
            .query = {},
            .headers = std::move(headers),
            .body = {},
            .peer = &peer_};
  }
  http::Response discover(std::vector<http::Header> headers) {
    return Documents(config_, source_, log_).discovery(get(std::move(headers)));
  }
  void give_keys() {
    source_.set = std::make_shared<const KeySet>(
        KeySet{{{.key = reference_key(), .key_id = "KEYID"}}, clock_.now()});
  }

  FakeClock clock_;
  ProviderConfig config_;
  FixedSource source_;
  CapturedLog log_;
  io::Peer peer_;
};

TEST_F(OidcDocuments, TheDocumentNamesTheHostThatWasAsked) {
  auto response = discover({{"Host", "a.test"}});
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, document("https://a.test", "https://a.test/keys"));
  EXPECT_EQ(response.content_type, "application/json");
  EXPECT_EQ(header_of(response, "Access-Control-Allow-Origin"), "*");
  EXPECT_EQ(discover({{"Host", "b.test:8443"}}).body,
            document("https://b.test:8443", "https://b.test:8443/keys"));
  EXPECT_EQ(discover({{"Host", "inner"}, {"x-forwarded-host", "b.test"}}).body,
            document("https://b.test", "https://b.test/keys"));
}

TEST_F(OidcDocuments, OtherHostsAreRefused) {
  auto refused = [&](std::vector<http::Header> headers) {
    auto response = discover(std::move(headers));
    EXPECT_EQ(response.status, 400);
    EXPECT_EQ(response.content_type, "text/plain; charset=utf-8");
    EXPECT_EQ(header_of(response, "X-Content-Type-Options"), "nosniff");
    return response.body;
  };
  EXPECT_EQ(refused({{"Host", "bad.test"}}), "domain \"bad.test\" is not allowed\n");
  EXPECT_EQ(refused({{"Host", "bad.test:80"}}), "domain \"bad.test\" is not allowed\n");
  EXPECT_EQ(refused({}), "domain \"\" is not allowed\n");
  EXPECT_EQ(refused({{"Host", "a.test"}, {"X-Forwarded-Host", "bad.test"}}),
            "domain \"bad.test\" is not allowed\n");
  EXPECT_EQ(refused({{"Host", "A.test"}}), "domain \"A.test\" must already be punycode encoded\n");
  EXPECT_EQ(refused({{"Host", "a.test:x\",\"y"}}),
            "domain \"a.test:x\\\",\\\"y\" is not a valid domain name: idna: disallowed rune "
            "U+003A\n");
}

TEST_F(OidcDocuments, HttpUrlsNeedTheSettingAndAConnectionWithoutTls) {
  EXPECT_EQ(discover({{"Host", "a.test"}, {"X-Forwarded-Proto", "http"}}).body,
            document("https://a.test", "https://a.test/keys"));
  config_.allow_insecure_scheme = true;
  EXPECT_EQ(discover({{"Host", "a.test"}}).body, document("http://a.test", "http://a.test/keys"));
  for (const http::Header& header : std::vector<http::Header>{{"X-Forwarded-Proto", "HTTPS"},
                                                              {"X-Forwarded-Scheme", "https"},
                                                              {"Forwarded", "for=1;Proto=https"}}) {
    EXPECT_EQ(discover({{"Host", "a.test"}, header}).body,
              document("https://a.test", "https://a.test/keys"));
  }
  peer_.tls = true;
  EXPECT_EQ(discover({{"Host", "a.test"}}).body, document("https://a.test", "https://a.test/keys"));
}

TEST_F(OidcDocuments, IssuerPrefixAndKeysUriAreAsConfigured) {
  config_.server_path_prefix = "/instance/1";
  EXPECT_EQ(discover({{"Host", "a.test"}}).body,
            document("https://a.test/instance/1", "https://a.test/instance/1/keys"));
  config_.jwt_issuer = parse_url("https://issuer.test/x").take();
  EXPECT_EQ(discover({{"Host", "a.test"}}).body,
            document("https://issuer.test/x", "https://issuer.test/x/keys"));
  config_.jwt_issuer = parse_url("https://issuer.test?a=1&b=2").take();
  EXPECT_EQ(discover({{"Host", "a.test"}}).body,
            document("https://issuer.test?a=1\\u0026b=2", "https://issuer.test/keys"));
  config_.jwks_uri = parse_url("https://keys.test/k").take();
  EXPECT_EQ(discover({{"Host", "a.test"}}).body,
            document("https://issuer.test?a=1\\u0026b=2", "https://keys.test/k"));
}

TEST_F(OidcDocuments, KeysAreWrittenAsTheReferenceWritesThem) {
  give_keys();
  const std::string members = R"(      "kty": "EC",
      "kid": "KEYID",
      "crv": "P-256",
      "alg": "ES256",
      "x": "iSt7S4ih6QLodw9wf-zdPV8bmAlDJBCRRy24_UAZY70",
      "y": "Gb4gkQCeHj7HCbZzdctcAx9dxoDgC9sudsSG7ZLIWJs"
    }
  ]
})";
  Documents documents(config_, source_, log_);
  auto response = documents.keys(get({{"Host", "whoever.asks"}}));
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "{\n  \"keys\": [\n    {\n" + members);
  EXPECT_EQ(response.content_type, "application/json");
  EXPECT_EQ(header_of(response, "Cache-Control"), "no-cache, no-store, must-revalidate");
  EXPECT_EQ(header_of(response, "Pragma"), "no-cache");
  EXPECT_EQ(header_of(response, "Expires"), "0");
  EXPECT_EQ(header_of(response, "Access-Control-Allow-Origin"), "*");
  EXPECT_EQ(header_of(response, "Last-Modified"), "Tue, 01 Jan 2030 00:00:00 GMT");

  config_.set_key_use = true;
  EXPECT_EQ(Documents(config_, source_, log_).keys(get({})).body,
            "{\n  \"keys\": [\n    {\n      \"use\": \"sig\",\n" + members);
}

TEST_F(OidcDocuments, AKeyThatTokensAreNotSignedWithHasNoAlgorithm) {
  const char* p521 = R"({"keys":[{"kty":"EC","kid":"k","crv":"P-521",)"
                     R"("x":"AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5)"
                     R"(RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt",)"
                     R"("y":"AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVyS)"
                     R"(sUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1"}]})";
  source_.set = std::make_shared<const KeySet>(KeySet{jose::parse_jwks(p521).take(), clock_.now()});
  auto response = Documents(config_, source_, log_).keys(get({}));
  EXPECT_EQ(response.status, 200);
  EXPECT_THAT(response.body, ::testing::Not(::testing::HasSubstr("alg")));
  EXPECT_TRUE(log_.has("Failed to get public key algorithm"));
}

TEST_F(OidcDocuments, KeysThatDidNotChangeNeedNotBeSentAgain) {
  give_keys();
  Documents documents(config_, source_, log_);
  auto same = documents.keys(get({{"If-Modified-Since", "Tue, 01 Jan 2030 00:00:00 GMT"}}));
  EXPECT_EQ(same.status, 304);
  EXPECT_EQ(same.body, "");
  EXPECT_EQ(documents.keys(get({{"If-Modified-Since", "Mon, 31 Dec 2029 23:59:59 GMT"}})).status,
            200);
  EXPECT_EQ(documents.keys(get({{"If-Modified-Since", "yesterday"}})).status, 200);
  clock_.advance(minutes(1));
  give_keys();
  EXPECT_EQ(documents.keys(get({{"If-Modified-Since", "Tue, 01 Jan 2030 00:00:00 GMT"}})).status,
            200);
}

TEST_F(OidcDocuments, WithoutKeysThereIsAnErrorThatSaysWhich) {
  Documents documents(config_, source_, log_);
  EXPECT_EQ(documents.keys(get({})).status, 500);
  EXPECT_EQ(documents.keys(get({})).body, "document not available\n");
  source_.set = std::make_shared<const KeySet>(KeySet{{}, clock_.now()});
  EXPECT_EQ(documents.keys(get({})).status, 501);
  EXPECT_EQ(documents.keys(get({})).body, "jwt not supported/enabled in this service\n");
}

TEST_F(OidcDocuments, OnlyGetIsAllowed) {
  give_keys();
  Documents documents(config_, source_, log_);
  for (const char* method : {"PUT", "HEAD", "POST", "OPTIONS"}) {
    EXPECT_EQ(documents.keys(get({{"Host", "a.test"}}, method)).status, 405);
    auto response = documents.discovery(get({{"Host", "bad.test"}}, method));
    EXPECT_EQ(response.status, 405);
    EXPECT_EQ(response.body, "method not allowed\n");
  }
}

TEST_F(OidcDocuments, HealthFollowsTheThreshold) {
  EXPECT_EQ(freshness_threshold(seconds(10)), minutes(3));
  EXPECT_EQ(freshness_threshold(seconds(35)), minutes(3));
  EXPECT_EQ(freshness_threshold(seconds(36)), seconds(36));
  EXPECT_EQ(freshness_threshold(minutes(10)), minutes(10));

  config_.file = FileConfig{"/f", seconds(10)};
  bool can_serve = true;
  Health health(config_, source_, clock_, [&] { return can_serve; });
  EXPECT_FALSE(health.ready());
  EXPECT_TRUE(health.live());
  clock_.advance(minutes(3));
  EXPECT_FALSE(health.live());
  source_.success = clock_.steady();
  EXPECT_TRUE(health.ready());
  EXPECT_TRUE(health.live());
  can_serve = false;
  EXPECT_FALSE(health.ready());
  EXPECT_TRUE(health.live());
  can_serve = true;
  clock_.advance(minutes(3) - seconds(1));
  EXPECT_TRUE(health.ready());
  clock_.advance(seconds(1));
  EXPECT_FALSE(health.ready());
  EXPECT_FALSE(health.live());
}

}  // namespace
}  // namespace steeple::oidc
