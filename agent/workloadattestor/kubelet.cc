// SPDX-License-Identifier: Apache-2.0

#include "agent/workloadattestor/kubelet.h"

#include <utility>

namespace steeple::agent {

Kubelet::Kubelet(kube::Client& client, Duration interval, std::function<void(Result<void>)> told)
    : client_(client), interval_(interval), told_(std::move(told)), timer_(client.loop()) {}

Duration Kubelet::age() const {
  return latest_.version == 0 ? Duration::max()
                              : client_.loop().clock().steady() - latest_.asked_at;
}

void Kubelet::want() {
  if (call_ || timer_.pending()) {
    return;
  }
  Duration wait = Duration::zero();
  if (begun_at_) {
    wait = *begun_at_ + interval_ - client_.loop().clock().steady();
  }
  if (wait > Duration::zero()) {
    timer_.start(wait, [this] { begin(); });
  } else {
    begin();
  }
}

void Kubelet::begin() {
  begun_at_ = client_.loop().clock().steady();
  ++requests_;
  reader_ = std::make_unique<PodListReader>();
  call_ = client_.stream(
      "/pods", [this](ByteView bytes) { return reader_->feed(bytes); },
      [this](Result<void> how) { ended(std::move(how)); });
}

void Kubelet::ended(Result<void> how) {
  call_.reset();
  auto reader = std::move(reader_);
  if (how.ok()) {
    auto list = reader->finish();
    if (list.ok()) {
      latest_ = {std::make_shared<const PodList>(std::move(list).take()), latest_.version + 1,
                 *begun_at_};
    } else {
      how = std::move(list).error();
    }
  }
  told_(std::move(how));
}

}  // namespace steeple::agent
