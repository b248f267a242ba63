#include "timing.h"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <string>

#include "errors.h"

namespace edgeseg {
namespace {

using Clock = std::chrono::steady_clock;

// The numbers of edgeseg/bench/worker.py; tests/bench/test_native.py holds them together.
constexpr size_t kWindow = 5;
constexpr double kTolerance = 0.05;
constexpr double kLeastSeconds = 0.2, kMostSeconds = 3.0;

double seconds_between(Clock::time_point start, Clock::time_point end) {
  return std::chrono::duration<double>(end - start).count();
}

bool is_settled(const std::vector<double>& times) {
  const auto end = times.end(), middle = end - kWindow;
  const double earlier = median({middle - kWindow, middle}), later = median({middle, end});
  return std::abs(later - earlier) <= kTolerance * earlier;
}

}  // namespace

double milliseconds(const Call& call) {
  const auto start = Clock::now();
  call();
  return seconds_between(start, Clock::now()) * 1e3;
}

Warmup warm_up(const Call& call) {
  std::vector<double> times;
  const auto start = Clock::now();
  for (double spent = 0; spent < kMostSeconds || times.size() < 2; spent = seconds_between(start, Clock::now())) {
    times.push_back(milliseconds(call));
    if (spent >= kLeastSeconds && times.size() >= 2 * kWindow && is_settled(times)) {
      return {static_cast<int64_t>(times.size()), true};
    }
  }
  return {static_cast<int64_t>(times.size()), false};
}

Stretch time_calls(const Call& call, double seconds) {
  Stretch stretch{};
  const auto first = Clock::now();
  auto begin = first;
  for (; seconds_between(first, begin) < seconds || stretch.samples_ms.size() < kMinSamples; begin = Clock::now()) {
    call();
    stretch.samples_ms.push_back(seconds_between(begin, Clock::now()) * 1e3);
    stretch.calls_per_second.resize(static_cast<size_t>(seconds_between(first, begin)) + 1);
    ++stretch.calls_per_second.back();
  }
  stretch.loop_ms = seconds_between(first, begin) * 1e3;
  return stretch;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

double resident_mib() {
  std::ifstream statm("/proc/self/statm");
  double total = 0, resident = 0;
  if (!(statm >> total >> resident)) throw Failure("no /proc/self/statm to read memory from");
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1 << 20);
}

double peak_mib() {
  std::ifstream status("/proc/self/status");
  for (std::string key; status >> key;) {
    double kib = 0;
    if (key == "VmHWM:" && status >> kib) return kib / 1024;
  }
  throw Failure("no VmHWM in /proc/self/status to read peak memory from");
}

void return_free_memory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

}  // namespace edgeseg
