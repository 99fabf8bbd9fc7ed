// SPDX-License-Identifier: Apache-2.0

#include "server/nodeattestor/agent_path_template.h"

#include <fmt/format.h>

#include <utility>

#include "lib/crypto/hash.h"
#include "lib/gotemplate/sprig.h"
#include "server/ca/profile.h"

namespace steeple::server {
namespace {

using gotemplate::Kind;
using gotemplate::Type;
using gotemplate::TypeRef;

// The type of a field, also of an embedded struct's; nothing when there is no such field.
std::optional<TypeRef> field_type(const Type& type, const std::string& name) {
  std::size_t index = 0;
  if (const Type::Field* field = type.field(name, &index)) {
    return field->type();
  }
  for (const Type::Field& field : type.fields) {
    if (field.embedded) {
      if (auto inner = field_type(*field.type(), name)) {
        return inner;
      }
    }
  }
  return std::nullopt;
}

// Does every field on the way exist? Below lists, maps and methods nobody can tell beforehand.
Result<void> check_path(TypeRef type, const gotemplate::FieldPath& path) {
  for (const std::string& name : path) {
    while (type && type->kind == Kind::kPointer) {
      type = type->element;
    }
    if (!type || type->kind != Kind::kStruct || type->method(name) != nullptr) {
      return {};
    }
    auto next = field_type(*type, name);
    if (!next) {
      return invalid_argument(fmt::format("field .{} is not known here", fmt::join(path, ".")));
    }
    type = *next;
  }
  return {};
}

}  // namespace

Result<AgentPathTemplate> AgentPathTemplate::parse(std::string_view text, const TypeRef& data,
                                                   Random& random) {
  const std::string doing = fmt::format("failed to parse agent svid template: \"{}\"", text);
  auto parsed = TRY(gotemplate::Template::parse(
                        "agent-path", text,
                        gotemplate::sprig({.sha1 = [](ByteView of) { return crypto::sha1(of); },
                                           .sha256 = [](ByteView of) { return crypto::sha256(of); },
                                           .random = &random}),
                        {.missing_key = gotemplate::MissingKey::kError})
                        .during(doing));
  for (const gotemplate::FieldPath& path : parsed.references()) {
    TRY(check_path(data, path).during(doing));
  }
  return AgentPathTemplate(std::move(parsed));
}

Result<spiffe::SpiffeId> AgentPathTemplate::agent_id(const spiffe::TrustDomain& trust_domain,
                                                     const gotemplate::Value& data) const {
  return server::agent_id(trust_domain, TRY(template_.execute(data)));
}

}  // namespace steeple::server
