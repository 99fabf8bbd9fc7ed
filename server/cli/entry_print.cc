// SPDX-License-Identifier: Apache-2.0

#include "server/cli/entry_print.h"

#include <fmt/format.h>

#include "lib/base/clock.h"
#include "server/cli/client.h"

namespace steeple::server {

void print_entry(const spire::api::types::Entry& entry, std::ostream& out) {
  auto line = [&out](std::string_view label, std::string_view value) {
    out << fmt::format("{:<24}: {}\n", label, value);
  };
  auto flag = [&line](std::string_view label, bool set) {
    if (set) {
      line(label, "true");
    }
  };
  auto ttl = [](std::int32_t seconds) {
    return seconds == 0 ? std::string("default") : fmt::format("{}", seconds);
  };
  line("Entry ID", entry.id().empty() ? "(none)" : entry.id());
  line("SPIFFE ID", entry.has_spiffe_id() ? id_text(entry.spiffe_id()) : "");
  line("Parent ID", entry.has_parent_id() ? id_text(entry.parent_id()) : "");
  line("Revision", fmt::format("{}", entry.revision_number()));
  flag("Downstream", entry.downstream());
  line("X509-SVID TTL", ttl(entry.x509_svid_ttl()));
  line("JWT-SVID TTL", ttl(entry.jwt_svid_ttl()));
  if (entry.expires_at() != 0) {
    line("Expiration time", format_go_utc(from_unix_seconds(entry.expires_at())));
  }
  for (const auto& selector : entry.selectors()) {
    line("Selector", selector.type() + ":" + selector.value());
  }
  for (const std::string& domain : entry.federates_with()) {
    line("FederatesWith", domain);
  }
  for (const std::string& name : entry.dns_names()) {
    line("DNS name", name);
  }
  flag("Admin", entry.admin());
  flag("StoreSvid", entry.store_svid());
  if (!entry.hint().empty()) {
    line("Hint", entry.hint());
  }
  if (entry.has_additional_attributes()) {
    flag("DisableX509SvidPrefetch", entry.additional_attributes().disable_x509_svid_prefetch());
    flag("JwtSvidIncludeJti", entry.additional_attributes().jwt_svid_include_jti());
  }
  out << "\n";
}

}  // namespace steeple::server
