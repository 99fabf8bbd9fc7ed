// SPDX-License-Identifier: Apache-2.0

#include "server/nodeattestor/certificate_value.h"

#include <arpa/inet.h>

#include <array>
#include <utility>

#include "lib/x509/name.h"
#include "server/nodeattestor/uri.h"

namespace steeple::server {
namespace {

using gotemplate::Type;
using gotemplate::TypeRef;
using gotemplate::Value;
using gotemplate::types::field;
namespace types = gotemplate::types;

// What the last field holds, which templates cannot name, is the text of the whole.
Type::Method text_method() {
  return {.name = "String",
          .arity = 0,
          .call = [](const Value& receiver, std::span<const Value>) -> Result<Value> {
            return receiver.items().back();
          }};
}
Type::Field text_field() { return field("text", types::string()); }

const TypeRef& name_type() {
  static const TypeRef type = [] {
    const TypeRef texts = types::list_of(types::string());
    std::vector<Type::Field> fields;
    for (const char* name : {"Country", "Organization", "OrganizationalUnit", "Locality",
                             "Province", "StreetAddress", "PostalCode"}) {
      fields.push_back(field(name, texts));
    }
    fields.push_back(field("SerialNumber", types::string()));
    fields.push_back(field("CommonName", types::string()));
    fields.push_back(text_field());
    return types::structure("pkix.Name", std::move(fields), {text_method()});
  }();
  return type;
}

Value name_value(const x509::Name& name) {
  Value::List fields;
  for (const auto* texts :
       {&name.country, &name.organization, &name.organizational_unit, &name.locality,
        &name.province, &name.street_address, &name.postal_code}) {
    fields.push_back(Value::strings(*texts));
  }
  fields.emplace_back(name.serial_number);
  fields.emplace_back(name.common_name);
  fields.emplace_back(name.to_string());
  return Value::object(name_type(), std::move(fields));
}

const TypeRef& url_type() {
  static const TypeRef type =
      types::structure("url.URL",
                       {field("Scheme", types::string()), field("Host", types::string()),
                        field("Path", types::string()), text_field()},
                       {text_method()});
  return type;
}

Value url_value(const std::string& text) {
  const Uri uri = split_uri(text);
  return Value::pointer(Value::object(
      url_type(),
      {Value(uri.scheme), Value(uri.host), Value(uri_path(uri.rest).value_or("")), Value(text)}));
}

const TypeRef& ip_type() {
  static const TypeRef type = types::named("net.IP", types::string());
  return type;
}

Value ip_value(const Bytes& ip) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  inet_ntop(ip.size() == 4 ? AF_INET : AF_INET6, ip.data(), text.data(), text.size());
  return Value::of(ip_type(), std::string(text.data()));
}

const TypeRef& urls_type() {
  static const TypeRef type = types::list_of(types::pointer_to(url_type()));
  return type;
}
const TypeRef& ips_type() {
  static const TypeRef type = types::list_of(ip_type());
  return type;
}

}  // namespace

TypeRef certificate_type() {
  static const TypeRef type = types::structure(
      "x509.Certificate",
      {field("Subject", name_type()), field("Issuer", name_type()),
       field("DNSNames", types::list_of(types::string())), field("IPAddresses", ips_type()),
       field("URIs", urls_type()), field("IsCA", types::boolean())});
  return type;
}

Result<Value> certificate_value(const x509::Certificate& certificate) {
  Value::List ips;
  for (const Bytes& ip : certificate.ip_sans()) {
    ips.push_back(ip_value(ip));
  }
  Value::List urls;
  for (const std::string& uri : certificate.uri_sans()) {
    urls.push_back(url_value(uri));
  }
  const x509::Name subject = TRY(certificate.subject_name());
  const x509::Name issuer = TRY(certificate.issuer_name());
  return Value::object(
      certificate_type(),
      {name_value(subject), name_value(issuer), Value::strings(certificate.dns_sans()),
       Value::list(std::move(ips), ips_type()), Value::list(std::move(urls), urls_type()),
       Value(certificate.is_ca())});
}

}  // namespace steeple::server
