// SPDX-License-Identifier: Apache-2.0

#include "lib/tls/file_identity.h"

#include "lib/base/secret_bytes.h"
#include "lib/io/directory.h"
#include "lib/io/on_worker.h"
#include "lib/x509/certificate.h"

namespace steeple::tls {
namespace {

constexpr std::size_t kPemBytesMax = std::size_t{1} << 20;

}  // namespace

Result<std::shared_ptr<const Identity>> load_identity(const std::string& cert_path,
                                                      const std::string& key_path) {
  Bytes cert_pem = TRY(io::read_file(cert_path, kPemBytesMax));
  SecretBytes key_pem = SecretBytes::absorb(TRY(io::read_file(key_path, kPemBytesMax)));
  auto chain = TRY(x509::parse_pem_certificates(cert_pem).during(cert_path));
  auto key = TRY(crypto::PrivateKey::from_pem(key_pem.reveal()).during(key_path));
  if (chain.front()->public_key() != key->public_key()) {
    return invalid_argument("private key does not match public key");
  }
  Identity identity{.chain = {}, .key = std::move(key)};
  for (const auto& certificate : chain) {
    identity.chain.emplace_back(certificate->der());
  }
  return std::make_shared<const Identity>(std::move(identity));
}

FileIdentity::FileIdentity(Files files, std::shared_ptr<const Identity> first, io::Loop& loop,
                           io::Workers& workers, Told told)
    : files_(std::move(files)),
      loop_(loop),
      workers_(workers),
      told_(std::move(told)),
      identity_(std::move(first)),
      timer_(loop) {
  wait();
}

Result<std::shared_ptr<FileIdentity>> FileIdentity::start(Files files, io::Loop& loop,
                                                          io::Workers& workers, Told told) {
  auto first = TRY(load_identity(files.cert_path, files.key_path));
  return std::make_shared<FileIdentity>(std::move(files), std::move(first), loop, workers,
                                        std::move(told));
}

void FileIdentity::wait() {
  timer_.start(files_.interval, [this] { read_again(); });
}

void FileIdentity::read_again() {
  io::on_worker(
      workers_, loop_, alive_,
      [cert = files_.cert_path, key = files_.key_path] { return load_identity(cert, key); },
      [this](Result<std::shared_ptr<const Identity>> loaded) {
        taken(std::move(loaded));
        wait();
      });
}

void FileIdentity::taken(Result<std::shared_ptr<const Identity>> loaded) {
  if (!loaded.ok()) {
    told_(std::move(loaded.error()));
    return;
  }
  // The same certificate is of the same key.
  if ((*loaded)->chain != identity_->chain) {
    identity_ = std::move(*loaded);
    told_({});
  }
}

}  // namespace steeple::tls
