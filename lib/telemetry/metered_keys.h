// SPDX-License-Identifier: Apache-2.0

// A key manager whose calls are counted under the reference's names: on the server
// server_key_manager_{generate_key,get_public_key,get_public_keys,sign_data}, on the agent
// agent_key_manager_{generate_key,get_key,get_keys}. Thread safe as the one inside.

#pragma once

#include <memory>

#include "lib/base/clock.h"
#include "lib/keymanager/keymanager.h"
#include "lib/telemetry/metrics.h"

namespace steeple {

// The key manager itself when nothing listens to the metrics.
std::shared_ptr<keymanager::KeyManager> with_server_metrics(
    std::shared_ptr<keymanager::KeyManager> keys, Metrics& metrics, Clock& clock);
std::shared_ptr<keymanager::KeyManager> with_agent_metrics(
    std::shared_ptr<keymanager::KeyManager> keys, Metrics& metrics, Clock& clock);

}  // namespace steeple
