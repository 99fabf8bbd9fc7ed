// SPDX-License-Identifier: Apache-2.0

// The key manager (step 10 of the flow): private keys under ids that their users choose
// ("x509-CA-A", "JWT-Signer-B", "agent-svid-a"). A key is replaced by generating one under the same
// id; whoever holds the old Signer may still sign. Calls may block; any thread.

#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/crypto/private_key.h"
#include "lib/io/directory.h"

namespace steeple::keymanager {

using SignerPtr = std::shared_ptr<const crypto::Signer>;

struct Key {
  std::string id;
  SignerPtr signer;
};

class KeyManager {
 public:
  virtual ~KeyManager() = default;
  // Stored durably before it answers; on error the old key under that id stays.
  virtual Result<SignerPtr> generate_key(const std::string& id, crypto::KeyType type) = 0;
  // kNotFound: `no such key "id"`.
  virtual Result<SignerPtr> get_key(const std::string& id) = 0;
  // Sorted by id.
  virtual Result<std::vector<Key>> get_keys() = 0;
  // The key itself where it lives in our memory (TLS needs it), kFailedPrecondition elsewhere.
  virtual Result<std::shared_ptr<const crypto::PrivateKey>> private_key(const std::string& id) = 0;
};

// Keys live as long as the object.
std::unique_ptr<KeyManager> memory_key_manager();

inline constexpr std::string_view kKeysFile = "keys.json";  // the agent's name for it
// SPIRE's file, both ways: {"keys":{"<id>":"<base64 PKCS#8>"}}, mode 0600, rewritten whole. No file
// is an empty store; a damaged one is an error and is left alone.
Result<std::unique_ptr<KeyManager>> disk_key_manager(std::shared_ptr<io::Directory> directory,
                                                     std::string file = std::string(kKeysFile));

}  // namespace steeple::keymanager
