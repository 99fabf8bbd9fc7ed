// SPDX-License-Identifier: Apache-2.0

#include "lib/crypto/pem.h"

#include <fmt/format.h>

#include "lib/base/secret_bytes.h"

namespace steeple::crypto {
namespace {

constexpr std::string_view kBegin = "-----BEGIN ";
constexpr std::string_view kEnd = "-----END ";
constexpr std::string_view kDashes = "-----";
constexpr std::size_t kLineBytes = 64;
constexpr std::size_t kLabelBytesMax = 64;

// The next line without its end; the rest is left in `text`.
std::string_view take_line(std::string_view& text) {
  std::size_t end = text.find('\n');
  std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t')) {
    line.remove_suffix(1);
  }
  return line;
}

bool is_border(std::string_view line, std::string_view opening) {
  return line.starts_with(opening) && line.ends_with(kDashes) &&
         line.size() >= opening.size() + kDashes.size();
}

std::string_view label_of(std::string_view line, std::string_view opening) {
  line.remove_prefix(opening.size());
  line.remove_suffix(kDashes.size());
  return line;
}

// The body after a BEGIN line, up to and with its END line.
Result<PemBlock> take_block(std::string_view label, std::string_view& text) {
  if (label.size() > kLabelBytesMax) {
    return invalid_argument("malformed PEM: label is too long");
  }
  Bytes body;
  while (!text.empty()) {
    std::string_view line = take_line(text);
    if (is_border(line, kEnd)) {
      if (label_of(line, kEnd) != label) {
        wipe(body);
        return invalid_argument("malformed PEM: end does not match begin");
      }
      auto decoded = base64_decode(body);
      wipe(body);
      Bytes der = TRY(std::move(decoded).during("malformed PEM"));
      return PemBlock{std::string(label), std::move(der)};
    }
    if (line.starts_with(kDashes) || line.find(':') != std::string_view::npos) {
      wipe(body);
      return invalid_argument(line.starts_with(kDashes)
                                  ? "malformed PEM: block does not end"
                                  : "malformed PEM: blocks with headers are not supported");
    }
    // A growing string would leave copies of a private key behind.
    if (body.empty()) {
      body.reserve(std::min(text.size(), text.find(kEnd)) + line.size());
    }
    body += line;
  }
  wipe(body);
  return invalid_argument("malformed PEM: block does not end");
}

}  // namespace

Result<std::vector<PemBlock>> pem_decode(std::string_view text) {
  std::vector<PemBlock> blocks;
  while (!text.empty()) {
    std::string_view line = take_line(text);
    if (!is_border(line, kBegin)) {
      continue;
    }
    if (blocks.size() == kPemBlocksMax) {
      return invalid_argument("malformed PEM: too many blocks");
    }
    blocks.push_back(TRY(take_block(label_of(line, kBegin), text)));
  }
  return blocks;
}

std::string pem_encode(std::string_view label, ByteView der) {
  std::string text = base64_encode(der);
  std::string out;
  out.reserve(text.size() + text.size() / kLineBytes + 2 * label.size() + 40);
  out += fmt::format("-----BEGIN {}-----\n", label);
  for (std::size_t at = 0; at < text.size(); at += kLineBytes) {
    out += std::string_view(text).substr(at, kLineBytes);
    out += '\n';
  }
  out += fmt::format("-----END {}-----\n", label);
  wipe(text);
  return out;
}

}  // namespace steeple::crypto
