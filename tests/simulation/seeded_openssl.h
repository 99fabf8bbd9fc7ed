// SPDX-License-Identifier: Apache-2.0

// Makes OpenSSL's randomness a function of the seed, so that keys, nonces and with them the lengths
// of signatures are the same in every run of a seed. For this program only: one thread.

#pragma once

#include <cstdint>

namespace steeple::simulation {

void seed_openssl(std::uint64_t seed);

}  // namespace steeple::simulation
