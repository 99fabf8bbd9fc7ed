// SPDX-License-Identifier: Apache-2.0

// The curves: their encodings, their process-wide groups and the checks that run on the low-level
// EC code. Scratch keys are per thread.

#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/ecdsa.h>

#include <array>

#include "lib/base/check.h"
#include "lib/crypto/openssl.h"

namespace steeple::crypto {
namespace {

using EcKey = std::unique_ptr<EC_KEY, Free<EC_KEY_free>>;

template <std::size_t kSize>
constexpr ByteView literal(const char (&text)[kSize]) {
  return ByteView(text, kSize - 1);
}

// id-ecPublicKey and namedCurve, RFC 5480 section 2.1.1.
constexpr ByteView kAlgorithmP256 =
    literal("\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07");
constexpr ByteView kAlgorithmP384 =
    literal("\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22");
constexpr ByteView kAlgorithmP521 =
    literal("\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x23");
constexpr ByteView kPrefixP256 = literal(
    "\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d"
    "\x03\x01\x07\x03\x42\x00");
constexpr ByteView kPrefixP384 = literal(
    "\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22"
    "\x03\x62\x00");
constexpr ByteView kPrefixP521 = literal(
    "\x30\x81\x9b\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x23"
    "\x03\x81\x86\x00");

constexpr std::size_t kCurves = 3;
const std::array<Curve, kCurves>& curves() {
  static const std::array<Curve, kCurves> kAll = {{
      {KeyKind::kEcP256, NID_X9_62_prime256v1, 32, 256, kAlgorithmP256, kPrefixP256,
       kAlgorithmP256.substr(11)},
      {KeyKind::kEcP384, NID_secp384r1, 48, 384, kAlgorithmP384, kPrefixP384,
       kAlgorithmP384.substr(11)},
      {KeyKind::kEcP521, NID_secp521r1, 66, 521, kAlgorithmP521, kPrefixP521,
       kAlgorithmP521.substr(11)},
  }};
  return kAll;
}

EC_GROUP* new_group(int nid) {
  EC_GROUP* group = EC_GROUP_new_by_curve_name(nid);
  CHECK(group != nullptr);
  return group;
}

// This thread's scratch key of the curve, whose public point the caller replaces.
EC_KEY* scratch_key(const Curve& curve) {
  thread_local std::array<EcKey, kCurves> keys;
  EcKey& key = keys[static_cast<std::size_t>(curve.kind)];
  if (!key) {
    key.reset(EC_KEY_new());
    CHECK(key != nullptr && EC_KEY_set_group(key.get(), group_of(curve)) == 1);
  }
  return key.get();
}

bool set_point(EC_KEY* key, const Curve& curve, ByteView point) {
  bool uncompressed = point.size() == curve.point_bytes() && point[0] == 4;
  return uncompressed && EC_KEY_oct2key(key, u8(point), point.size(), nullptr) == 1;
}

}  // namespace

const Curve& curve_of(KeyKind kind) {
  CHECK(kind != KeyKind::kRsa);
  return curves()[static_cast<std::size_t>(kind)];
}

const Curve* curve_of_oid(ByteView oid_arcs) {
  for (const Curve& curve : curves()) {
    if (curve.oid == oid_arcs) {
      return &curve;
    }
  }
  return nullptr;
}

const EC_GROUP* group_of(const Curve& curve) {
  static const std::array<const EC_GROUP*, kCurves> kGroups = {
      new_group(NID_X9_62_prime256v1), new_group(NID_secp384r1), new_group(NID_secp521r1)};
  return kGroups[static_cast<std::size_t>(curve.kind)];
}

bool point_on_curve(const Curve& curve, ByteView point) {
  bool good = set_point(scratch_key(curve), curve, point);
  if (!good) {
    ERR_clear_error();
  }
  return good;
}

bool ecdsa_verify(const Curve& curve, ByteView point, ByteView digest, ByteView signature) {
  constexpr std::size_t kSignatureBytesMax = 256;
  if (signature.size() > kSignatureBytesMax) {
    return false;
  }
  EC_KEY* key = scratch_key(curve);
  // ECDSA_verify encodes what it decoded again and compares, so BER variants are refused.
  bool good = set_point(key, curve, point) &&
              ECDSA_verify(0, u8(digest), static_cast<int>(digest.size()), u8(signature),
                           static_cast<int>(signature.size()), key) == 1;
  if (!good) {
    ERR_clear_error();
  }
  return good;
}

}  // namespace steeple::crypto
