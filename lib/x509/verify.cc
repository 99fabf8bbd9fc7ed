// SPDX-License-Identifier: Apache-2.0

#include "lib/x509/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "lib/base/limits.h"
#include "lib/x509/name_constraints.h"

namespace steeple::x509 {
namespace {

// Bounds the work that one chain can cause; Go's number.
constexpr int kSignatureChecksMax = 100;

constexpr std::array<std::pair<Refusal, Code>, 6> kCodes = {{
    {Refusal::kMalformed, Code::kDataLoss},
    {Refusal::kNotSvid, Code::kInvalidArgument},
    {Refusal::kNoBundle, Code::kNotFound},
    {Refusal::kExpired, Code::kOutOfRange},
    {Refusal::kUnknownAuthority, Code::kUnauthenticated},
    {Refusal::kConstraint, Code::kFailedPrecondition},
}};

Error refuse(Refusal why, std::string message) {
  for (const auto& [refusal, code] : kCodes) {
    if (refusal == why) {
      return {code, std::move(message)};
    }
  }
  check_failed("no code for this refusal");
}

Result<void> check_validity(const Certificate& certificate, WallTime now) {
  constexpr std::string_view kText = "x509: certificate has expired or is not yet valid";
  if (now < certificate.not_before()) {
    return refuse(Refusal::kExpired,
                  fmt::format("{}: current time {} is before {}", kText, format_rfc3339(now),
                              format_rfc3339(certificate.not_before())));
  }
  if (now > certificate.not_after()) {
    return refuse(Refusal::kExpired,
                  fmt::format("{}: current time {} is after {}", kText, format_rfc3339(now),
                              format_rfc3339(certificate.not_after())));
  }
  return {};
}

Result<void> check_itself(const Certificate& certificate, WallTime now) {
  if (certificate.has_unhandled_critical_extension()) {
    return refuse(Refusal::kConstraint, "x509: unhandled critical extension");
  }
  return check_validity(certificate, now);
}

// Go's name for a candidate in its hint.
std::string shown_name(const Certificate& certificate) {
  auto name = certificate.subject_name();
  if (name.ok() && !name->common_name.empty()) {
    return name->common_name;
  }
  if (name.ok() && !name->organization.empty()) {
    return name->organization.front();
  }
  return "serial:" + certificate.serial_decimal();
}

// Looks for a path depth first. A candidate issuer is one whose subject is the issuer's name; those
// whose key id fits come first, then those without ids, then the rest (the ids are only hints).
class PathSearch {
 public:
  PathSearch(const std::vector<CertificatePtr>& intermediates, const Authorities& roots,
             WallTime now)
      : intermediates_(intermediates), roots_(roots), now_(now) {}

  Result<std::vector<CertificatePtr>> run(const CertificatePtr& leaf) {
    TRY(check_itself(*leaf, now_));
    path_ = {leaf};
    bool is_root = std::any_of(roots_.begin(), roots_.end(),
                               [&](const CertificatePtr& root) { return *root == *leaf; });
    if (is_root || extend()) {
      return std::move(path_);
    }
    return give_up();
  }

 private:
  static int closeness(const Certificate& child, const Certificate& candidate) {
    ByteView wanted = child.authority_key_id();
    ByteView offered = candidate.subject_key_id();
    if (wanted.empty() || offered.empty()) {
      return 1;
    }
    return wanted == offered ? 0 : 2;
  }

  // Candidates of one pool in the order of trying.
  static std::vector<CertificatePtr> candidates(const Certificate& child,
                                                const std::vector<CertificatePtr>& pool) {
    std::vector<CertificatePtr> found;
    std::copy_if(pool.begin(), pool.end(), std::back_inserter(found),
                 [&](const CertificatePtr& c) { return c->subject() == child.issuer(); });
    std::stable_sort(found.begin(), found.end(),
                     [&](const CertificatePtr& a, const CertificatePtr& b) {
                       return closeness(child, *a) < closeness(child, *b);
                     });
    return found;
  }

  bool extend() {
    const Certificate& child = *path_.back();
    for (const CertificatePtr& root : candidates(child, roots_)) {
      if (consider(child, root)) {
        path_.push_back(root);
        return true;
      }
    }
    if (path_.size() >= limits::kChainCertificatesMax) {
      return false;
    }
    for (const CertificatePtr& candidate : candidates(child, intermediates_)) {
      if (in_path(*candidate) || !consider(child, candidate)) {
        continue;
      }
      path_.push_back(candidate);
      if (extend()) {
        return true;
      }
      path_.pop_back();
    }
    return false;
  }

  // The same subject and key twice in a path proves nothing new.
  bool in_path(const Certificate& candidate) const {
    return std::any_of(path_.begin(), path_.end(), [&](const CertificatePtr& c) {
      return c->subject() == candidate.subject() && c->public_key() == candidate.public_key();
    });
  }

  bool consider(const Certificate& child, const CertificatePtr& candidate) {
    if (++signature_checks_ > kSignatureChecksMax) {
      exhausted_ = true;
      return false;
    }
    auto good = may_sign(child, *candidate);
    if (good.ok()) {
      good = check_itself(*candidate, now_);
    }
    if (good.ok()) {
      good = check_limits(*candidate);
    }
    if (!good.ok() && hint_.empty()) {
      hint_ = good.error().message;
      hint_refusal_ = good.error().code;
      hint_name_ = shown_name(*candidate);
    }
    return good.ok();
  }

  static Result<void> may_sign(const Certificate& child, const Certificate& parent) {
    bool ca = parent.has_basic_constraints() && parent.is_ca();
    if (!ca || (parent.key_usage() && !parent.has_key_usage(key_usage::kCertSign))) {
      return refuse(Refusal::kConstraint,
                    "x509: invalid signature: parent certificate cannot sign this kind of "
                    "certificate");
    }
    return child.check_signature(parent.public_key());
  }

  // RFC 5280 6.1.4 (l, m) and (b, c): path length and names of what is below.
  Result<void> check_limits(const Certificate& candidate) const {
    if (auto most = candidate.path_length_max()) {
      auto below = std::count_if(path_.begin() + 1, path_.end(),
                                 [](const CertificatePtr& c) { return !c->self_issued(); });
      if (below > *most) {
        return refuse(Refusal::kConstraint,
                      "x509: too many intermediates for path length constraint");
      }
    }
    if (candidate.name_constraints().empty()) {
      return {};
    }
    for (const CertificatePtr& below : path_) {
      auto good = check_name_constraints(candidate.name_constraints(), *below);
      if (!good.ok()) {
        return refuse(Refusal::kConstraint,
                      fmt::format("x509: a root or intermediate certificate is not authorized to "
                                  "sign for this name: {}",
                                  good.error().message));
      }
    }
    return {};
  }

  Error give_up() const {
    if (exhausted_) {
      return refuse(Refusal::kUnknownAuthority,
                    "x509: signature check attempts limit reached while verifying certificate "
                    "chain");
    }
    std::string text = "x509: certificate signed by unknown authority";
    if (hint_.empty()) {
      return refuse(Refusal::kUnknownAuthority, std::move(text));
    }
    return {hint_refusal_,
            fmt::format("{} (possibly because of \"{}\" while trying to verify candidate authority "
                        "certificate \"{}\")",
                        text, hint_, hint_name_)};
  }

  const std::vector<CertificatePtr>& intermediates_;
  const Authorities& roots_;
  WallTime now_;
  std::vector<CertificatePtr> path_;
  std::string hint_, hint_name_;
  Code hint_refusal_ = Code::kUnauthenticated;
  int signature_checks_ = 0;
  bool exhausted_ = false;
};

Result<void> check_leaf(const Certificate& leaf) {
  if (leaf.is_ca()) {
    return refuse(Refusal::kNotSvid, "leaf certificate with CA flag set to true");
  }
  if (leaf.has_key_usage(key_usage::kCertSign)) {
    return refuse(Refusal::kNotSvid, "leaf certificate with KeyCertSign key usage");
  }
  if (leaf.has_key_usage(key_usage::kCrlSign)) {
    return refuse(Refusal::kNotSvid, "leaf certificate with KeyCrlSign key usage");
  }
  return {};
}

Result<VerifiedSvid> verify_parsed(const std::vector<CertificatePtr>& chain,
                                   const AuthoritiesOf& authorities, WallTime now) {
  if (chain.empty()) {
    return refuse(Refusal::kMalformed, "empty certificates chain");
  }
  if (chain.size() > limits::kChainCertificatesMax) {
    return refuse(Refusal::kMalformed,
                  fmt::format("chain of {} certificates is too long", chain.size()));
  }
  const CertificatePtr& leaf = chain.front();
  spiffe::SpiffeId id = TRY(id_from_certificate(*leaf).during("could not get leaf SPIFFE ID"));
  TRY(check_leaf(*leaf));
  if (id.path().empty()) {  // X509-SVID section 5.2
    return refuse(Refusal::kNotSvid, "leaf certificate's SPIFFE ID has no path");
  }
  AuthoritiesPtr roots = authorities(id.trust_domain());
  if (!roots) {
    return refuse(Refusal::kNoBundle,
                  fmt::format("could not get X509 bundle: no X.509 bundle for trust domain \"{}\"",
                              id.trust_domain_name()));
  }
  std::vector<CertificatePtr> intermediates(chain.begin() + 1, chain.end());
  std::vector<CertificatePtr> path = TRY(
      verify_chain(leaf, intermediates, *roots, now).during("could not verify leaf certificate"));
  return VerifiedSvid{std::move(id), leaf, std::move(path)};
}

}  // namespace

Refusal refusal_of(const Error& error) {
  for (const auto& [refusal, code] : kCodes) {
    if (error.code == code) {
      return refusal;
    }
  }
  return Refusal::kOther;
}

Result<spiffe::SpiffeId> id_from_certificate(const Certificate& certificate) {
  const std::vector<std::string>& uris = certificate.uri_sans();
  if (uris.empty()) {
    return refuse(Refusal::kNotSvid, "certificate contains no URI SAN");
  }
  if (uris.size() > 1) {
    return refuse(Refusal::kNotSvid, "certificate contains more than one URI SAN");
  }
  auto id = spiffe::SpiffeId::parse(uris.front());
  if (!id.ok()) {
    return refuse(Refusal::kNotSvid, std::move(id).error().message);
  }
  return id;
}

Result<std::vector<CertificatePtr>> verify_chain(const CertificatePtr& leaf,
                                                 const std::vector<CertificatePtr>& intermediates,
                                                 const Authorities& roots, WallTime now) {
  if (intermediates.size() >= limits::kChainCertificatesMax) {
    return refuse(Refusal::kMalformed, "too many certificates");
  }
  return PathSearch(intermediates, roots, now).run(leaf);
}

Result<VerifiedSvid> verify_svid(const std::vector<CertificatePtr>& chain,
                                 const AuthoritiesOf& authorities, WallTime now) {
  return verify_parsed(chain, authorities, now).during("x509svid");
}

Result<VerifiedSvid> verify_svid(const std::vector<Bytes>& chain, const AuthoritiesOf& authorities,
                                 WallTime now) {
  if (chain.size() > limits::kChainCertificatesMax) {
    return refuse(Refusal::kMalformed,
                  fmt::format("x509svid: chain of {} certificates is too long", chain.size()));
  }
  auto parsed = parse_chain(chain);
  if (!parsed.ok()) {
    return refuse(Refusal::kMalformed,
                  fmt::format("x509svid: unable to parse certificate: {}", parsed.error().message));
  }
  return verify_svid(*parsed, authorities, now);
}

}  // namespace steeple::x509
