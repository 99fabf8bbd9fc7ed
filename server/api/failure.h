// SPDX-License-Identifier: Apache-2.0

// Errors of the APIs with the reference's words: what failed, then why; logged once with the
// caller's fields. Used on the thread that serves the call.

#pragma once

#include <string_view>

#include "lib/base/error.h"
#include "server/authz/caller.h"
#include "spire/api/types/status.pb.h"

namespace steeple::server {

// "what: why", or just "what" without a cause, or for kNotFound (whose cause says no more).
Error fail(Caller& caller, Code code, std::string_view what, const Error* why = nullptr);
inline Error fail(Caller& caller, Code code, std::string_view what, const Error& why) {
  return fail(caller, code, what, &why);
}

// spire.api.types.Status of an item in a batch.
void set_status(const Result<void>& status, spire::api::types::Status& proto);

}  // namespace steeple::server
