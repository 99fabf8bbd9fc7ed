// SPDX-License-Identifier: Apache-2.0

#include "oidc/config/url.h"

#include <fmt/format.h>

#include <algorithm>

#include "lib/cli/socket_client.h"

namespace steeple::oidc {
namespace {

constexpr std::string_view kNeverInUrls = " \"<>\\^`{|}";

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
bool all_digits(std::string_view text) { return std::all_of(text.begin(), text.end(), is_digit); }

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  }
  return out;
}

// Takes the scheme and its colon off the text; empty when there is none.
Result<std::string> take_scheme(std::string_view& text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    bool later = i > 0 && (is_digit(c) || c == '+' || c == '-' || c == '.');
    if (c == ':') {
      if (i == 0) {
        return invalid_argument("missing protocol scheme");
      }
      std::string scheme = lower(text.substr(0, i));
      text.remove_prefix(i + 1);
      return scheme;
    }
    if (!is_letter(c) && !later) {
      break;
    }
  }
  return std::string();
}

Result<void> check_host(std::string_view host) {
  for (char c : host) {
    if (kNeverInUrls.contains(c) || c == '%') {
      return invalid_argument(
          fmt::format("invalid character {} in host name", cli::quote(std::string_view(&c, 1))));
    }
  }
  std::size_t port_at = host.rfind(':');
  if (host.starts_with('[')) {
    std::size_t end = host.rfind(']');
    if (end == std::string_view::npos) {
      return invalid_argument("missing ']' in host");
    }
    port_at = end + 1 < host.size() ? end + 1 : std::string_view::npos;
  }
  if (port_at != std::string_view::npos) {
    std::string_view port = host.substr(port_at);
    if (!port.starts_with(':') || !all_digits(port.substr(1))) {
      return invalid_argument(fmt::format("invalid port {} after host", cli::quote(port)));
    }
  }
  return {};
}

Result<std::string> escape(std::string_view path) {
  std::string out;
  for (std::size_t i = 0; i < path.size(); ++i) {
    char c = path[i];
    if (c == '%' && !(i + 2 < path.size() && is_hex(path[i + 1]) && is_hex(path[i + 2]))) {
      return invalid_argument("invalid URL escape " + cli::quote(path.substr(i, 3)));
    }
    if (kNeverInUrls.contains(c) || static_cast<unsigned char>(c) >= 0x80) {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out;
}

Result<Url> parse(std::string_view text) {
  for (char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      return invalid_argument("net/url: invalid control character in URL");
    }
  }
  Url url;
  std::string_view rest = text;
  url.scheme = TRY(take_scheme(rest));
  std::size_t end = rest.find_first_of("?#");
  std::string_view tail = end == std::string_view::npos ? "" : rest.substr(end);
  rest = rest.substr(0, end);
  std::string authority;
  if (rest.starts_with("//")) {
    std::size_t slash = rest.find('/', 2);
    authority = rest.substr(2, slash == std::string_view::npos ? slash : slash - 2);
    rest = slash == std::string_view::npos ? "" : rest.substr(slash);
    std::size_t at = authority.rfind('@');
    url.host = at == std::string::npos ? authority : authority.substr(at + 1);
    TRY(check_host(url.host));
  } else if (url.scheme.empty() && !rest.starts_with('/') &&
             rest.substr(0, rest.find('/')).contains(':')) {
    return invalid_argument("first path segment in URL cannot contain colon");
  }
  url.path = TRY(escape(rest));
  url.text = fmt::format("{}{}{}{}{}{}", url.scheme, url.scheme.empty() ? "" : ":",
                         authority.empty() ? "" : "//", authority, url.path, TRY(escape(tail)));
  return url;
}

// What of the label idna's lookup profile refuses; empty when nothing.
std::string label_problem(std::string_view label) {
  for (char c : label) {
    if (!is_letter(c) && !is_digit(c) && c != '-') {
      return fmt::format("disallowed rune U+{:04X}", static_cast<unsigned char>(c));
    }
  }
  bool ace = label.starts_with("xn--");
  bool hyphens = label.starts_with('-') || label.ends_with('-') ||
                 (!ace && label.size() > 4 && label.substr(2, 2) == "--");
  return hyphens ? fmt::format("invalid label {}", cli::quote(label)) : "";
}

}  // namespace

Result<Url> parse_url(std::string_view text) {
  return parse(text).during("parse " + cli::quote(text));
}

std::string join_path(std::string_view base, std::string_view leaf) {
  std::vector<std::string_view> parts;
  for (std::string_view text : {base, leaf}) {
    while (!text.empty()) {
      std::size_t slash = text.find('/');
      std::string_view part = text.substr(0, slash);
      text.remove_prefix(slash == std::string_view::npos ? text.size() : slash + 1);
      if (part == "..") {
        if (!parts.empty()) {
          parts.pop_back();
        }
      } else if (!part.empty() && part != ".") {
        parts.push_back(part);
      }
    }
  }
  return fmt::format("/{}", fmt::join(parts, "/"));
}

std::string_view host_of(std::string_view text) {
  std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || !all_digits(text.substr(colon + 1))) {
    return text;
  }
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) {
    return host.substr(1, host.size() - 2);
  }
  return host.contains(':') ? text : host;
}

Result<void> check_domain(std::string_view domain) {
  bool plain = std::none_of(domain.begin(), domain.end(), [](char c) {
    return static_cast<unsigned char>(c) >= 0x80 || (c >= 'A' && c <= 'Z');
  });
  if (!plain) {
    return invalid_argument(
        fmt::format("domain {} must already be punycode encoded", cli::quote(domain)));
  }
  for (std::string_view rest = domain; !rest.empty();) {
    std::size_t dot = rest.find('.');
    std::string problem = label_problem(rest.substr(0, dot));
    if (!problem.empty()) {
      return invalid_argument(fmt::format("domain {} is not a valid domain name: idna: {}",
                                          cli::quote(domain), problem));
    }
    rest.remove_prefix(dot == std::string_view::npos ? rest.size() : dot + 1);
  }
  return {};
}

}  // namespace steeple::oidc
