// SPDX-License-Identifier: Apache-2.0

#include "lib/x509/name_constraints.h"

#include <fmt/format.h>

#include <algorithm>

#include "lib/crypto/der.h"

namespace steeple::x509 {
namespace {

using crypto::DerReader;
namespace tag = crypto::tag;

constexpr std::size_t kSubtreesMax = 1024;
constexpr unsigned kDnsName = 2;
constexpr unsigned kUri = 6;
constexpr unsigned kIpAddress = 7;

struct Subtrees {
  std::vector<std::string> dns, uris;
  std::vector<ByteView> ips;  // address and mask
};

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return out;
}

Result<Subtrees> read_subtrees(DerReader reader) {
  Subtrees trees;
  for (std::size_t count = 0; !reader.empty(); ++count) {
    if (count == kSubtreesMax) {
      return invalid_argument("too many name constraints");
    }
    DerReader subtree = TRY(reader.enter(tag::kSequence));
    DerReader::Element base = TRY(subtree.any());
    TRY(subtree.finish());  // RFC 5280: minimum is 0 (left out), maximum absent
    if (base.tag == tag::context(kDnsName)) {
      trees.dns.push_back(lower(base.content));
    } else if (base.tag == tag::context(kUri)) {
      trees.uris.push_back(lower(base.content));
    } else if (base.tag == tag::context(kIpAddress) &&
               (base.content.size() == 8 || base.content.size() == 32)) {
      trees.ips.push_back(base.content);
    } else {
      return invalid_argument("name constraint of a kind that is not supported");
    }
  }
  return trees;
}

// "example.org" covers itself and what is below it; ".example.org" only what is below; "" all.
bool dns_within(std::string_view name, std::string_view tree) {
  if (tree.empty()) {
    return true;
  }
  if (tree.starts_with('.')) {
    return name.size() > tree.size() && name.ends_with(tree);
  }
  return name == tree || (name.size() > tree.size() && name.ends_with(tree) &&
                          name[name.size() - tree.size() - 1] == '.');
}

// For URIs a host without leading dot is that host alone.
bool uri_within(std::string_view host, std::string_view tree) {
  return tree.empty() || host == tree || (tree.starts_with('.') && dns_within(host, tree));
}

bool ip_within(ByteView address, ByteView tree) {
  if (tree.size() != 2 * address.size()) {
    return false;
  }
  for (std::size_t i = 0; i < address.size(); ++i) {
    auto mask = static_cast<unsigned char>(tree[address.size() + i]);
    if (((static_cast<unsigned char>(address[i]) ^ static_cast<unsigned char>(tree[i])) & mask) !=
        0) {
      return false;
    }
  }
  return true;
}

// The host of "scheme://user@host:port/path"; empty when there is none.
std::string host_of(std::string_view uri) {
  std::size_t at = uri.find("://");
  if (at == std::string_view::npos) {
    return {};
  }
  uri.remove_prefix(at + 3);
  uri = uri.substr(0, uri.find_first_of("/?#"));
  uri.remove_prefix(std::min(uri.rfind('@') + 1, uri.size()));  // npos + 1 is 0
  if (!uri.starts_with('[')) {
    uri = uri.substr(0, uri.rfind(':'));
  }
  return lower(uri);
}

template <class Name, class Trees, class Within>
Result<void> check(const Name& name, std::string_view shown, const Trees& permitted,
                   const Trees& excluded, Within within) {
  auto covers = [&](const auto& tree) { return within(name, tree); };
  if (std::any_of(excluded.begin(), excluded.end(), covers)) {
    return invalid_argument(fmt::format("\"{}\" is excluded by a name constraint", shown));
  }
  if (!permitted.empty() && std::none_of(permitted.begin(), permitted.end(), covers)) {
    return invalid_argument(fmt::format("\"{}\" is not permitted by any name constraint", shown));
  }
  return {};
}

}  // namespace

Result<void> check_name_constraints(ByteView constraints, const Certificate& certificate) {
  DerReader reader = TRY(crypto::der_enter_only(constraints, tag::kSequence));
  Subtrees permitted;
  Subtrees excluded;
  if (reader.peek() == tag::context_constructed(0)) {
    DerReader trees = TRY(reader.enter(tag::context_constructed(0)));
    permitted = TRY(read_subtrees(trees));
  }
  if (reader.peek() == tag::context_constructed(1)) {
    DerReader trees = TRY(reader.enter(tag::context_constructed(1)));
    excluded = TRY(read_subtrees(trees));
  }
  TRY(reader.finish());
  for (const std::string& name : certificate.dns_sans()) {
    TRY(check(lower(name), name, permitted.dns, excluded.dns, dns_within));
  }
  for (const std::string& uri : certificate.uri_sans()) {
    std::string host = host_of(uri);
    bool constrained = !permitted.uris.empty() || !excluded.uris.empty();
    if (host.empty() && constrained) {
      return invalid_argument(fmt::format("URI with empty host (\"{}\") cannot be matched", uri));
    }
    TRY(check(host, uri, permitted.uris, excluded.uris, uri_within));
  }
  for (const Bytes& address : certificate.ip_sans()) {
    TRY(check(ByteView(address), hex_encode(address), permitted.ips, excluded.ips, ip_within));
  }
  return {};
}

}  // namespace steeple::x509
