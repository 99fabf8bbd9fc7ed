// SPDX-License-Identifier: Apache-2.0

// process_* from /proc/self, read at each scrape; what cannot be read is left out.

#include <dirent.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <limits>
#include <sstream>

#include "lib/telemetry/metric_sink.h"

namespace steeple {
namespace {

void write(std::string& out, std::string_view name, std::string_view type, std::string_view help,
           double value) {
  bool whole = value < 1e15 && value == static_cast<double>(static_cast<std::int64_t>(value));
  out += fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n{0} {3}\n", name, help, type,
                     whole ? fmt::format("{:.0f}", value) : fmt::format("{}", value));
}

double open_descriptors() {
  DIR* folder = ::opendir("/proc/self/fd");
  if (folder == nullptr) {
    return -1;
  }
  double count = -3;  // ".", ".." and the folder itself
  while (::readdir(folder) != nullptr) {
    ++count;
  }
  ::closedir(folder);
  return count;
}

double limit_of(int resource) {
  rlimit limit{};
  if (::getrlimit(static_cast<__rlimit_resource>(resource), &limit) != 0) {
    return -1;
  }
  return limit.rlim_cur == RLIM_INFINITY ? static_cast<double>(std::numeric_limits<rlim_t>::max())
                                         : static_cast<double>(limit.rlim_cur);
}

// Seconds since the epoch when the machine booted.
double boot_time() {
  std::ifstream stat("/proc/stat");
  for (std::string line; std::getline(stat, line);) {
    if (line.starts_with("btime ")) {
      return std::strtod(line.c_str() + 6, nullptr);
    }
  }
  return -1;
}

struct Stat {
  double cpu_seconds = -1;
  double start_seconds = -1;
  double virtual_bytes = -1;
  double resident_bytes = -1;
};

// proc(5): the fields after the name in parentheses, which may hold blanks.
Stat read_stat() {
  std::ifstream file("/proc/self/stat");
  std::string line;
  std::getline(file, line);
  std::size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) {
    return {};
  }
  std::istringstream rest(line.substr(name_end + 1));
  std::vector<std::string> fields;
  for (std::string field; rest >> field;) {
    fields.push_back(field);
  }
  if (fields.size() < 22) {
    return {};
  }
  auto number = [&](std::size_t field) {  // as proc(5) counts
    return std::strtod(fields[field - 3].c_str(), nullptr);
  };
  auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  double boot = boot_time();
  return {.cpu_seconds = (number(14) + number(15)) / ticks,
          .start_seconds = boot < 0 ? -1 : boot + number(22) / ticks,
          .virtual_bytes = number(23),
          .resident_bytes = number(24) * static_cast<double>(::sysconf(_SC_PAGESIZE))};
}

struct Traffic {
  double received = -1;
  double sent = -1;
};

// Bytes of IP in this network namespace: pairs of lines "IpExt: <names>", "IpExt: <numbers>".
Traffic read_traffic() {
  std::ifstream file("/proc/self/net/netstat");
  std::string names, numbers;
  while (std::getline(file, names) && std::getline(file, numbers)) {
    if (!names.starts_with("IpExt:")) {
      continue;
    }
    Traffic traffic;
    std::istringstream name_stream(names), number_stream(numbers);
    for (std::string name, number; name_stream >> name && number_stream >> number;) {
      double& to = name == "InOctets" ? traffic.received : traffic.sent;
      if (name == "InOctets" || name == "OutOctets") {
        to = std::strtod(number.c_str(), nullptr);
      }
    }
    return traffic;
  }
  return {};
}

}  // namespace

std::string process_metrics() {
  std::string out;
  auto add = [&out](std::string_view name, std::string_view type, std::string_view help,
                    double value) {
    if (value >= 0) {
      write(out, name, type, help, value);
    }
  };
  Stat stat = read_stat();
  add("process_cpu_seconds_total", "counter", "User and system CPU time spent.", stat.cpu_seconds);
  add("process_max_fds", "gauge", "Limit of open file descriptors.", limit_of(RLIMIT_NOFILE));
  Traffic traffic = read_traffic();
  add("process_network_receive_bytes_total", "counter",
      "Bytes received by the network namespace of the process.", traffic.received);
  add("process_network_transmit_bytes_total", "counter",
      "Bytes sent by the network namespace of the process.", traffic.sent);
  add("process_open_fds", "gauge", "Open file descriptors.", open_descriptors());
  add("process_resident_memory_bytes", "gauge", "Resident memory.", stat.resident_bytes);
  add("process_start_time_seconds", "gauge", "Start of the process, in Unix time.",
      stat.start_seconds);
  add("process_virtual_memory_bytes", "gauge", "Virtual memory.", stat.virtual_bytes);
  add("process_virtual_memory_max_bytes", "gauge", "Limit of virtual memory.", limit_of(RLIMIT_AS));
  return out;
}

}  // namespace steeple
