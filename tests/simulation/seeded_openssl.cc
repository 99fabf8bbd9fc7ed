// SPDX-License-Identifier: Apache-2.0

#define OPENSSL_SUPPRESS_DEPRECATED  // the old way is the short one, and providers honour it

#include "tests/simulation/seeded_openssl.h"

#include <openssl/rand.h>

#include "lib/base/check.h"
#include "lib/base/fake_random.h"

namespace steeple::simulation {
namespace {

SeededRandom& source() {
  static SeededRandom random(0);
  return random;
}

int fill(unsigned char* out, int count) {
  source().fill({out, static_cast<std::size_t>(count)});
  return 1;
}
int always_seeded() { return 1; }

}  // namespace

void seed_openssl(std::uint64_t seed) {
  static const RAND_METHOD method = {nullptr, fill, nullptr, nullptr, fill, always_seeded};
  source() = SeededRandom(seed);
  CHECK(RAND_set_rand_method(&method) == 1);
}

}  // namespace steeple::simulation
