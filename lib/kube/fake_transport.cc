// SPDX-License-Identifier: Apache-2.0

#include "lib/kube/fake_transport.h"

#include "lib/base/check.h"

namespace steeple::kube {

struct FakeExchange::Wire {
  HttpEvents events;
  bool open = true;
};

namespace {

std::string percent_decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      out += hex_decode(text.substr(i + 1, 2)).take();
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

bool FakeExchange::open() const { return wire_->open; }

void FakeExchange::answer(int status, std::string_view body, std::vector<HttpHeader> headers) {
  head(status, std::move(headers));
  data(body);
  end();
}

// The callbacks may drop the exchange's call, so the wire is held meanwhile.
void FakeExchange::head(int status, std::vector<HttpHeader> headers) {
  if (auto wire = wire_; wire->open) {
    wire->events.on_head({status, std::move(headers)});
  }
}

void FakeExchange::data(std::string_view bytes) {
  if (auto wire = wire_; wire->open && !bytes.empty()) {
    wire->events.on_data(bytes);
  }
}

void FakeExchange::end(Result<void> how) {
  if (auto wire = wire_; wire->open) {
    wire->open = false;
    auto on_end = std::move(wire->events.on_end);
    on_end(std::move(how));
  }
}

std::string FakeExchange::path() const {
  std::size_t scheme = request.url.find("://");
  std::size_t slash = request.url.find('/', scheme + 3);
  return slash == std::string::npos ? "" : request.url.substr(slash);
}

std::string FakeExchange::query(std::string_view name) const {
  std::string_view rest = request.url;
  std::size_t mark = rest.find('?');
  while (mark != std::string_view::npos) {
    rest.remove_prefix(mark + 1);
    mark = rest.find('&');
    std::string_view part = rest.substr(0, mark);
    std::size_t equals = part.find('=');
    if (part.substr(0, equals) == name) {
      return percent_decode(part.substr(equals + 1));
    }
  }
  return "<none>";
}

std::string FakeExchange::header(std::string_view name) const {
  for (const HttpHeader& header : request.headers) {
    if (header.name == name) {
      return header.value;
    }
  }
  return {};
}

CallPtr FakeTransport::start(HttpRequest request, HttpEvents events) {
  class Cancel final : public Call {
   public:
    explicit Cancel(std::shared_ptr<FakeExchange::Wire> wire) : wire_(std::move(wire)) {}
    ~Cancel() override { wire_->open = false; }

   private:
    std::shared_ptr<FakeExchange::Wire> wire_;
  };
  FakeExchange& exchange = exchanges_.emplace_back();
  exchange.request = std::move(request);
  exchange.wire_ = std::make_shared<FakeExchange::Wire>();
  exchange.wire_->events = std::move(events);
  return std::make_unique<Cancel>(exchange.wire_);
}

std::size_t FakeTransport::open() const {
  std::size_t count = 0;
  for (const FakeExchange& exchange : exchanges_) {
    count += exchange.open() ? 1 : 0;
  }
  return count;
}

}  // namespace steeple::kube
