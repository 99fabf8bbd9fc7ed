// SPDX-License-Identifier: Apache-2.0

// Runs a fuzz target (LLVMFuzzerTestOneInput) under g++: mutates inputs and keeps those that reach
// code not seen before, by the compiler's trace-pc calls. It begins with the target's own seeds.
// With files as arguments it runs those and nothing else, to replay a finding. A failing input is
// written to crash-<target> first; one that takes too long, or too much memory, has failed.
//
//   <target> -seconds 5 -seed 1 [file...]

#include <sys/time.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "lib/base/fuzz_seeds.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace steeple {
[[gnu::weak]] std::vector<std::string> fuzz_seeds();  // a target may have none
}

namespace {

constexpr std::size_t kMapSize = 1U << 16;
constexpr std::size_t kInputBytesMax = 4096;
constexpr std::size_t kCorpusMax = 10'000;
// Of CPU time, for one input of at most kInputBytesMax (or a seed), with sanitizers and coverage.
constexpr int kInputSecondsMax = 10;

// One bit per place of code; written by every instrumented edge.
std::uint8_t seen[kMapSize];    // NOLINT: shared with the compiler's hook
std::uint64_t fresh_edges = 0;  // NOLINT: as above
std::string current;            // NOLINT: what is being run, for the crash file
std::string crash_file;         // NOLINT: its name

std::uint64_t next_random(std::uint64_t& state) {
  std::uint64_t z = (state += 0x9e3779b97f4a7c15ULL);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

class Mutator {
 public:
  explicit Mutator(std::uint64_t seed) : state_(seed) {}

  std::size_t below(std::size_t bound) { return bound == 0 ? 0 : next_random(state_) % bound; }

  std::string mutate(std::string input, const std::vector<std::string>& corpus) {
    for (std::size_t rounds = 1 + below(4); rounds > 0; --rounds) {
      one(input, corpus);
    }
    if (input.size() > kInputBytesMax) {
      input.resize(kInputBytesMax);
    }
    return input;
  }

 private:
  void one(std::string& input, const std::vector<std::string>& corpus) {
    static constexpr const char* kWords[] = {
        "{",  "}",    "[",  "]",    "\"",   "\\u0000",   ":",
        ",",  "=",    ".",  "null", "true", "-1",        "1e999",
        "//", "\r\n", "\n", "<<",   "${",   "spiffe://", "0x7fffffff"};
    std::size_t at = below(input.size() + 1);
    switch (below(8)) {
      case 0:
        input.insert(at, 1, static_cast<char>(below(256)));
        break;
      case 1:
        if (!input.empty()) {
          input[below(input.size())] ^= static_cast<char>(1U << below(8));
        }
        break;
      case 2:
        input.erase(at, below(16));
        break;
      case 3:
        input.insert(at, kWords[below(std::size(kWords))]);
        break;
      case 4:
        input.resize(at);
        break;
      case 5:  // repeat a part: deep nesting, long runs
        input.insert(at, input.substr(below(input.size() + 1), below(64)));
        break;
      case 6: {
        const std::string& other = corpus[below(corpus.size())];
        input = input.substr(0, at) + other.substr(below(other.size() + 1));
        break;
      }
      default:
        if (!input.empty()) {
          static constexpr std::uint8_t kEdges[] = {0x00, 0x7f, 0x80, 0x81, 0x82, 0x84, 0xff, 0x30};
          input[below(input.size())] = static_cast<char>(kEdges[below(std::size(kEdges))]);
        }
    }
  }

  std::uint64_t state_;
};

std::string read_file(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void arm_timer(int seconds) {
  itimerval left{{0, 0}, {seconds, 0}};
  setitimer(ITIMER_PROF, &left, nullptr);
}

// Copies the input to the heap, so that the sanitizer sees a read past its end.
bool run(const std::string& input) {
  current = input;
  fresh_edges = 0;
  std::vector<std::uint8_t> bytes(input.begin(), input.end());
  bytes.shrink_to_fit();
  arm_timer(kInputSecondsMax);
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  arm_timer(0);
  return fresh_edges > 0;
}

void write_crash() {
  std::ofstream file(crash_file, std::ios::binary);
  file.write(current.data(), static_cast<std::streamsize>(current.size()));
  std::fprintf(stderr, "failing input of %zu bytes written to %s\n", current.size(),
               crash_file.c_str());
}

}  // namespace

extern "C" void __sanitizer_cov_trace_pc() {
  auto place = reinterpret_cast<std::uintptr_t>(__builtin_return_address(0));
  std::uint8_t& byte = seen[(place ^ (place >> 16)) & (kMapSize - 1)];
  if (byte == 0) {
    byte = 1;
    ++fresh_edges;
  }
}

extern "C" void __asan_on_error() { write_crash(); }
// One allocation of more than 64 MiB is a finding: no target gets more than kInputBytesMax.
extern "C" const char* __asan_default_options() {
  return "handle_abort=1:max_allocation_size_mb=64:hard_rss_limit_mb=3072";
}
extern "C" const char* __ubsan_default_options() { return "print_stacktrace=1"; }

int main(int argc, char** argv) {
  double seconds = 5;
  std::uint64_t seed = 1;
  std::vector<std::string> corpus;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "-seconds") == 0 && i + 1 < argc) {
      seconds = std::atof(argv[++i]);
    } else if (std::strcmp(argv[i], "-seed") == 0 && i + 1 < argc) {
      seed = std::strtoull(argv[++i], nullptr, 10);
    } else {
      corpus.push_back(read_file(argv[i]));
    }
  }
  std::string name = argv[0];
  crash_file = "crash-" + name.substr(name.rfind('/') + 1);
  // The sanitizer's handler of aborts writes the input and shows where the time went.
  std::signal(SIGPROF, [](int) { std::abort(); });
  if (!corpus.empty()) {
    for (const std::string& input : corpus) {
      run(input);
    }
    return 0;
  }
  corpus.emplace_back();
  if (&steeple::fuzz_seeds != nullptr) {
    for (std::string& seed_input : steeple::fuzz_seeds()) {
      corpus.push_back(std::move(seed_input));
    }
  }
  for (const std::string& input : corpus) {
    run(input);
  }
  Mutator mutator(seed);
  std::uint64_t runs = 0;
  std::clock_t end = std::clock() + static_cast<std::clock_t>(seconds * CLOCKS_PER_SEC);
  while (std::clock() < end) {
    std::string input = mutator.mutate(corpus[mutator.below(corpus.size())], corpus);
    ++runs;
    if (run(input) && corpus.size() < kCorpusMax) {
      corpus.push_back(std::move(input));
    }
  }
  std::printf("%llu runs, %zu inputs kept, %td places seen\n",
              static_cast<unsigned long long>(runs), corpus.size(),
              std::count(std::begin(seen), std::end(seen), 1));
  return 0;
}
