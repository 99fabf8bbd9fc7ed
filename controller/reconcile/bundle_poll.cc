// SPDX-License-Identifier: Apache-2.0

#include "controller/reconcile/bundle_poll.h"

#include <utility>

namespace steeple::controller {

namespace {
constexpr int kPageSize = 500;
}  // namespace

BundlePoll::BundlePoll(Deps deps, std::function<bool()> wanted, Handler handler)
    : deps_(deps),
      wanted_(std::move(wanted)),
      handler_(std::move(handler)),
      backoff_(deps.random),
      timer_(deps.loop) {}

void BundlePoll::poke() {
  if (answered_ && !asking_ && wanted_()) {
    timer_.start(Duration::zero(), [this] { ask(""); });
  }
}

void BundlePoll::ask(const std::string& token) {
  asking_ = true;
  ::spire::api::server::bundle::v1::ListFederatedBundlesRequest request;
  request.mutable_output_mask();  // names only
  request.set_page_size(kPageSize);
  request.set_page_token(token);
  if (token.empty()) {
    domains_.clear();
  }
  call_ = deps_.spire.call<Response>(method::kListFederatedBundles, request,
                                     [this](Result<Response> page) { got(std::move(page)); });
}

void BundlePoll::got(Result<Response> page) {
  if (!page.ok()) {
    bool never =
        page.error().code == Code::kUnimplemented || page.error().code == Code::kPermissionDenied;
    Duration wait = backoff_.next();
    asking_ = false;
    if (never) {
      LOG_WARN(deps_.log, "The SPIRE server does not list federated bundles",
               {"error", page.error()});
      answered_ = true;
      handler_({});
      return;
    }
    ++deps_.counters.rpc_failures;
    LOG_ERROR(deps_.log, "Failed to list federated bundles", {"error", page.error()},
              {"retry_in", format_go_duration(wait)});
    timer_.start(wait, [this] { ask(""); });
    return;
  }
  backoff_.reset();
  for (const auto& bundle : page->bundles()) {
    domains_.insert(bundle.trust_domain());
  }
  if (!page->next_page_token().empty()) {
    ask(page->next_page_token());
    return;
  }
  asking_ = false;
  answered_ = true;
  timer_.start(kBundlePollInterval, [this] { poke(); });
  handler_(std::exchange(domains_, {}));
}

}  // namespace steeple::controller
