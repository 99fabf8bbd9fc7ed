// SPDX-License-Identifier: Apache-2.0

// The seam of first contact: how a node proves to the server which node it is. A NodeAttestor
// begins a Proof for each attestation; the Proof gives the payload of the first message and answers
// the server's challenges. Calls block (files, signatures): on a worker, one after the other.

#pragma once

#include <memory>
#include <string>

#include "lib/base/bytes.h"
#include "lib/base/random.h"
#include "lib/base/result.h"
#include "lib/base/secret_bytes.h"
#include "lib/hcl/value.h"

namespace steeple::agent {

class Proof {
 public:
  virtual ~Proof() = default;
  virtual Result<Bytes> payload() = 0;
  virtual Result<Bytes> answer(ByteView challenge) = 0;
};

class NodeAttestor {
 public:
  virtual ~NodeAttestor() = default;
  // The plugin's name, sent as the type of the attestation data.
  virtual const std::string& name() const = 0;
  virtual Result<std::unique_ptr<Proof>> begin() = 0;
};

// The token is spent by the first attestation that the server accepts. Empty: attestation fails
// with the reference's words.
std::unique_ptr<NodeAttestor> join_token_attestor(SecretBytes token);

// plugin_data: private_key_path, certificate_path, intermediates_path. The files are read anew for
// each attestation, and once here so that mistakes show at start-up. `random` must outlive it.
Result<std::unique_ptr<NodeAttestor>> x509pop_attestor(const hcl::Value& plugin_data,
                                                       Random& random);

// plugin_data: cluster, token_path. The token is read anew for each attestation.
Result<std::unique_ptr<NodeAttestor>> k8s_psat_attestor(const hcl::Value& plugin_data);

}  // namespace steeple::agent
