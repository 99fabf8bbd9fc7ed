// SPDX-License-Identifier: Apache-2.0

// Reviews and the custom resources in them: foreign bytes to an answer or an error.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "controller/webhook/admission.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  using namespace steeple::controller;
  (void)answer_review(text, validate_cluster_spiffe_id).ok();
  (void)answer_review(text, validate_cluster_static_entry).ok();
  (void)answer_review(text, validate_cluster_federated_trust_domain).ok();
  return 0;
}
