// SPDX-License-Identifier: Apache-2.0

// The key managers whose keys live in this process: with a directory they also live in SPIRE's
// keys.json there, without one only here.

#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>
#include <variant>

#include "lib/base/guarded.h"
#include "lib/keymanager/keymanager.h"

namespace steeple::keymanager {
namespace {

using nlohmann::json;

constexpr std::size_t kFileBytesMax = std::size_t{4} << 20;
constexpr std::size_t kKeysMax = 10'000;
constexpr mode_t kMode = 0600;

using PrivateKeyPtr = std::shared_ptr<const crypto::PrivateKey>;
using Keys = std::map<std::string, PrivateKeyPtr>;

// Go's MarshalIndent(…, "", "\t"): what SPIRE writes.
Bytes encode_keys(const Keys& keys) {
  Bytes out = "{\n\t\"keys\": {";
  constexpr std::size_t kKeyBytesMax = 4096;
  out.reserve(64 + keys.size() * kKeyBytesMax);  // growing would leave copies of secrets behind
  const char* separator = "\n";
  for (const auto& [id, key] : keys) {
    Bytes encoded = base64_encode(key->to_pkcs8().reveal());
    out += separator;
    out += "\t\t";
    out += json(id).dump();
    out += ": \"";
    out += encoded;
    out += '"';
    wipe(encoded);
    separator = ",\n";
  }
  out += keys.empty() ? "}\n}" : "\n\t}\n}";
  return out;
}

Result<PrivateKeyPtr> decode_key(const std::string& id, json& value) {
  if (!value.is_string()) {
    return internal(fmt::format("unable to decode keys JSON: key \"{}\" is not a string", id));
  }
  auto& text = value.get_ref<std::string&>();
  auto der = base64_decode(text);
  wipe(text);
  if (!der.ok()) {
    return internal(fmt::format("unable to decode keys JSON: {}", der.error().message));
  }
  auto key = crypto::PrivateKey::from_pkcs8(*der);
  wipe(*der);
  if (!key.ok()) {
    return internal(fmt::format("unable to parse key \"{}\": {}", id, key.error().message));
  }
  return key;
}

Result<Keys> decode_keys(std::string_view text) {
  if (text.size() > kFileBytesMax) {
    return internal("unable to decode keys JSON: file is too large");
  }
  json document = json::parse(text, nullptr, false);
  if (document.is_discarded() || !document.is_object()) {
    return internal("unable to decode keys JSON: not a JSON object");
  }
  Keys keys;
  auto member = document.find("keys");
  if (member == document.end() || member->is_null()) {
    return keys;
  }
  if (!member->is_object() || member->size() > kKeysMax) {
    return internal("unable to decode keys JSON: bad \"keys\"");
  }
  for (auto& [id, value] : member->items()) {
    keys[id] = TRY(decode_key(id, value));
  }
  return keys;
}

class LocalKeyManager final : public KeyManager {
 public:
  LocalKeyManager(std::shared_ptr<io::Directory> directory, std::string file, Keys keys)
      : directory_(std::move(directory)), file_(std::move(file)), keys_(std::move(keys)) {}

  Result<SignerPtr> generate_key(const std::string& id, crypto::KeyType type) override {
    if (id.empty()) {
      return invalid_argument("failed to generate key: key id is required");
    }
    PrivateKeyPtr key = TRY(crypto::PrivateKey::generate(type).during("failed to generate key"));
    // One writer at a time; readers wait for no disk.
    auto writing = writing_.lock();
    Keys next = *keys_.lock();
    if (next.size() >= kKeysMax && !next.contains(id)) {
      return resource_exhausted("failed to generate key: too many keys");
    }
    next[id] = key;
    TRY(store(next).during("failed to generate key"));
    *keys_.lock() = std::move(next);
    return SignerPtr(std::move(key));
  }

  Result<SignerPtr> get_key(const std::string& id) override {
    return SignerPtr(TRY(private_key(id)));
  }

  Result<std::vector<Key>> get_keys() override {
    std::vector<Key> out;
    auto keys = keys_.lock();
    for (const auto& [id, key] : *keys) {
      out.push_back({id, key});
    }
    return out;
  }

  Result<PrivateKeyPtr> private_key(const std::string& id) override {
    if (id.empty()) {
      return invalid_argument("key id is required");
    }
    auto keys = keys_.lock();
    auto found = keys->find(id);
    if (found == keys->end()) {
      return not_found(fmt::format("no such key \"{}\"", id));
    }
    return found->second;
  }

 private:
  Result<void> store(const Keys& keys) {
    if (!directory_) {
      return {};
    }
    Bytes text = encode_keys(keys);
    auto stored = directory_->write(file_, text, kMode).during("unable to write entries");
    wipe(text);
    return stored;
  }

  const std::shared_ptr<io::Directory> directory_;  // null: memory only
  const std::string file_;
  Guarded<std::monostate> writing_;
  Guarded<Keys> keys_;
};

}  // namespace

std::unique_ptr<KeyManager> memory_key_manager() {
  return std::make_unique<LocalKeyManager>(nullptr, "", Keys());
}

Result<std::unique_ptr<KeyManager>> disk_key_manager(std::shared_ptr<io::Directory> directory,
                                                     std::string file) {
  CHECK(directory != nullptr);
  Keys keys;
  auto text = directory->read(file);
  if (text.ok()) {
    auto decoded = decode_keys(*text);
    wipe(*text);
    keys = TRY(std::move(decoded));
  } else if (text.error().code != Code::kNotFound) {
    return std::move(text).error();
  }
  return std::unique_ptr<KeyManager>(
      std::make_unique<LocalKeyManager>(std::move(directory), std::move(file), std::move(keys)));
}

}  // namespace steeple::keymanager
