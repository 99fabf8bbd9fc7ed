// SPDX-License-Identifier: Apache-2.0

// Every limit of the system by name, with its unit and the reason for its size.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace steeple::limits {

using namespace std::chrono_literals;

// --- gRPC and HTTP/2 ---------------------------------------------------------------------------
inline constexpr std::size_t kMessageBytesMax = std::size_t{4}
                                                << 20;  // gRPC's default receive limit
inline constexpr std::uint32_t kStreamsPerConnectionMax = 100;
inline constexpr std::size_t kHeaderListBytesMax = std::size_t{16} << 10;
inline constexpr std::uint32_t kWindowBytes = 1U << 20;
inline constexpr std::size_t kOutputBytesPause = std::size_t{1} << 20;  // stop reading above this
inline constexpr std::size_t kInputBytesPerConnectionMax = std::size_t{16} << 20;
inline constexpr auto kHandshakeTimeout = 10s;
inline constexpr auto kConnectionAgeMax = 3min;  // SPIRE's, +-10 % jitter
inline constexpr auto kGracefulStop = 10s;
inline constexpr std::size_t kConnectionsMax = 20'000;
inline constexpr std::size_t kConnectionsPerUidMax = 5'000;

// --- HTTP/1.1 ----------------------------------------------------------------------------------
inline constexpr std::size_t kHttpBodyBytesMax = std::size_t{1} << 20;
inline constexpr std::size_t kHttpConnectionsMax = 256;
inline constexpr auto kHttpTimeout = 30s;

// --- X.509, JOSE -------------------------------------------------------------------------------
inline constexpr std::size_t kCsrBytesMax = std::size_t{64} << 10;
inline constexpr std::size_t kCertificateBytesMax = std::size_t{64} << 10;
inline constexpr std::size_t kChainCertificatesMax = 16;
inline constexpr std::size_t kDerDepthMax = 16;
inline constexpr std::size_t kTokenBytesMax = std::size_t{64} << 10;
inline constexpr std::size_t kBundleBytesMax = std::size_t{4} << 20;
inline constexpr int kRsaKeyBitsMax = 8192;

// --- SPIFFE IDs --------------------------------------------------------------------------------
inline constexpr std::size_t kTrustDomainBytesMax = 255;
inline constexpr std::size_t kSpiffeIdBytesMax = 2048;

// --- registration ------------------------------------------------------------------------------
inline constexpr std::size_t kEntryIdBytesMax = 255;
inline constexpr std::size_t kHintBytesMax = 1024;
inline constexpr std::size_t kPageEntriesMax = 500;  // pages of SyncAuthorizedEntries
inline constexpr std::size_t kListPageMax = 10'000;  // whatever page a client asks for

// --- configuration -----------------------------------------------------------------------------
inline constexpr std::size_t kConfigBytesMax = std::size_t{4} << 20;
inline constexpr std::size_t kConfigDepthMax = 32;

}  // namespace steeple::limits
