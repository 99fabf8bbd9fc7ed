// SPDX-License-Identifier: Apache-2.0

#include "agent/cache/jwt_cache.h"

#include <algorithm>
#include <map>

namespace steeple::agent {

JwtCache::JwtCache(std::size_t tokens_max, Logger log, Metrics& metrics)
    : tokens_max_(std::max<std::size_t>(tokens_max, 1)), log_(std::move(log)), metrics_(metrics) {}

std::string JwtCache::key(const spiffe::SpiffeId& id, const std::vector<std::string>& audience) {
  std::vector<std::string> sorted = audience;
  std::sort(sorted.begin(), sorted.end());
  std::string out = id.text();
  for (const std::string& name : sorted) {
    // An id holds no '\n'; the length makes the audiences unambiguous.
    out += '\n';
    out += std::to_string(name.size());
    out += ':';
    out += name;
  }
  return out;
}

JwtSvidPtr JwtCache::find(const std::string& key) {
  auto found = tokens_.find(key);
  if (found == tokens_.end()) {
    return nullptr;
  }
  order_.splice(order_.begin(), order_, found->second);
  return found->second->svid;
}

void JwtCache::put(const std::string& key, JwtSvidPtr svid) {
  auto found = tokens_.find(key);
  if (found != tokens_.end()) {
    found->second->svid = std::move(svid);
    order_.splice(order_.begin(), order_, found->second);
    return;
  }
  while (tokens_.size() >= tokens_max_) {
    tokens_.erase(order_.back().key);
    order_.pop_back();
  }
  order_.push_front({key, std::move(svid)});
  tokens_.emplace(key, order_.begin());
  report_size();
}

void JwtCache::taint(const std::set<std::string>& key_ids) {
  std::map<std::string, std::size_t> removed;
  std::size_t all = 0;
  for (auto token = order_.begin(); token != order_.end();) {
    const std::string& signer = token->svid->key_id;
    if (!key_ids.contains(signer)) {
      ++token;
      continue;
    }
    ++removed[signer];
    ++all;
    tokens_.erase(token->key);
    token = order_.erase(token);
  }
  for (const auto& [key_id, count] : removed) {
    LOG_INFO(log_,
             "JWT-SVIDs were removed from the JWT cache because they were issued by a tainted "
             "authority",
             {"jwt_authority_key_ids", key_id}, {"tainted_jwt_svids", count});
  }
  metrics_.sample("cache_manager.tainted_jwt_svids.workload", static_cast<double>(all));
  report_size();
}

void JwtCache::report_size() {
  if (metrics_.enabled()) {
    metrics_.gauge("jwt_svid_cache_size", static_cast<double>(tokens_.size()));
  }
}

}  // namespace steeple::agent
