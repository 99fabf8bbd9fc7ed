// SPDX-License-Identifier: Apache-2.0

// `agent_path_template` of node attestors: Go's text/template with the functions of sprig that the
// reference allows. What it makes follows "spiffe://<trust domain>/spire/agent".

#pragma once

#include <string>
#include <string_view>

#include "lib/base/random.h"
#include "lib/gotemplate/template.h"
#include "spiffe/spiffe_id.h"

namespace steeple::server {

class AgentPathTemplate {
 public:
  // `data` is the type of what the template will be given; a field that it has not is refused
  // here and not at the first attestation. `random` is for uuidv4. kInvalidArgument.
  static Result<AgentPathTemplate> parse(std::string_view text, const gotemplate::TypeRef& data,
                                         Random& random);

  // Whether it may read something of this field of the data.
  bool reads(const std::string& field) const { return template_.reads({field}); }

  // Any thread. An error: the template fails, or makes what is no path of a SPIFFE ID.
  Result<spiffe::SpiffeId> agent_id(const spiffe::TrustDomain& trust_domain,
                                    const gotemplate::Value& data) const;

 private:
  explicit AgentPathTemplate(gotemplate::Template parsed) : template_(std::move(parsed)) {}

  gotemplate::Template template_;
};

}  // namespace steeple::server
