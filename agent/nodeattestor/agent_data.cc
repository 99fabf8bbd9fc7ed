// SPDX-License-Identifier: Apache-2.0

#include "agent/nodeattestor/agent_data.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "lib/base/limits.h"
#include "lib/crypto/pem.h"
#include "lib/x509/certificate.h"

namespace steeple::agent {
namespace {

using Json = nlohmann::json;

// Go's []byte fields: base64 strings; null is an empty list.
Result<std::vector<Bytes>> parse_certificates(const Json& object, const char* key,
                                              std::size_t count_max) {
  std::vector<Bytes> out;
  auto found = object.find(key);
  if (found == object.end() || found->is_null()) {
    return out;
  }
  if (!found->is_array() || found->size() > count_max) {
    return invalid_argument(fmt::format("member \"{}\" is not a list of certificates", key));
  }
  for (const Json& item : *found) {
    if (!item.is_string()) {
      return invalid_argument(fmt::format("member \"{}\" holds something else than text", key));
    }
    Bytes pem = TRY(base64_decode(item.get_ref<const std::string&>()));
    auto certificates = TRY(x509::parse_pem_certificates(pem));
    if (certificates.size() != 1) {
      return invalid_argument(fmt::format("member \"{}\": expected one certificate a text", key));
    }
    out.push_back(certificates.front()->der());
  }
  return out;
}

Result<int> parse_int(const Json& object, const char* key) {
  auto found = object.find(key);
  if (found == object.end() || found->is_null()) {
    return 0;
  }
  if (!found->is_number_integer()) {
    return invalid_argument(fmt::format("member \"{}\" is not a whole number", key));
  }
  auto value = found->get<std::int64_t>();
  if (value < INT32_MIN || value > INT32_MAX) {
    return invalid_argument(fmt::format("member \"{}\" is out of range", key));
  }
  return static_cast<int>(value);
}

Result<AgentData> from_json(const Json& object) {
  if (!object.is_object()) {
    return invalid_argument("not a JSON object");
  }
  AgentData data;
  data.svid =
      TRY(parse_certificates(object, "svid", limits::kChainCertificatesMax).during("parse SVID"));
  data.bundle = TRY(parse_certificates(object, "bundle", 10'000).during("parse bundle"));
  auto reattestable = object.find("reattestable");
  if (reattestable != object.end() && !reattestable->is_null()) {
    if (!reattestable->is_boolean()) {
      return invalid_argument("member \"reattestable\" is not a boolean");
    }
    data.reattestable = reattestable->get<bool>();
  }
  data.bootstrap_use = TRY(parse_int(object, "bootstrap_use"));
  data.connection_attempts = TRY(parse_int(object, "connection_attempts"));
  auto start = object.find("bootstrap_start_time");
  if (start != object.end() && !start->is_null()) {
    if (!start->is_string()) {
      return invalid_argument("member \"bootstrap_start_time\" is not a time");
    }
    data.bootstrap_start_time = start->get<std::string>();
  }
  return data;
}

Json to_list(const std::vector<Bytes>& certificates) {
  if (certificates.empty()) {
    return nullptr;  // as Go writes an empty slice
  }
  Json list = Json::array();
  for (const Bytes& der : certificates) {
    list.push_back(base64_encode(crypto::pem_encode("CERTIFICATE", der)));
  }
  return list;
}

}  // namespace

Result<AgentData> parse_agent_data(std::string_view json) {
  if (json.size() > kAgentDataBytesMax) {
    return resource_exhausted("failed to unmarshal data: too large");
  }
  Json object = Json::parse(json, nullptr, false);
  if (object.is_discarded()) {
    return invalid_argument("failed to unmarshal data: not JSON");
  }
  return from_json(object).during("failed to unmarshal data");
}

std::string encode_agent_data(const AgentData& data) {
  nlohmann::ordered_json out;
  out["svid"] = to_list(data.svid);
  out["bundle"] = to_list(data.bundle);
  out["reattestable"] = data.reattestable;
  out["bootstrap_use"] = data.bootstrap_use;
  out["bootstrap_start_time"] = data.bootstrap_start_time;
  out["connection_attempts"] = data.connection_attempts;
  return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Result<std::shared_ptr<AgentStore>> AgentStore::open(std::shared_ptr<io::Directory> directory) {
  Result<Bytes> content = directory->read(std::string(kAgentDataFile));
  AgentData data;
  if (content.ok()) {
    data = TRY(parse_agent_data(*content).during("failed to open storage"));
  } else if (content.error().code != Code::kNotFound) {
    return std::move(content.error()).during("failed to open storage: failed to read data");
  }
  return std::make_shared<AgentStore>(std::move(directory), std::move(data));
}

AgentData AgentStore::data() const { return *data_.lock(); }

Result<void> AgentStore::update(const std::function<void(AgentData&)>& change) {
  auto data = data_.lock();
  AgentData changed = *data;
  change(changed);
  if (changed == *data) {
    return {};
  }
  TRY(directory_->write(std::string(kAgentDataFile), encode_agent_data(changed), 0600)
          .during("failed to write data file"));
  *data = std::move(changed);
  return {};
}

}  // namespace steeple::agent
