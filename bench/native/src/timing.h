// The protocol of edgeseg/bench/worker.py: settle, then time.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace edgeseg {

using Call = std::function<void()>;

double milliseconds(const Call& call);

struct Warmup {
  int64_t runs;
  bool is_settled;
};

// Calls until two neighbouring stretches have the same median, or for as long as the protocol waits.
Warmup warm_up(const Call& call);

struct Stretch {
  std::vector<double> samples_ms;
  std::vector<int64_t> calls_per_second;  // calls begun in each second
  double loop_ms;                         // length, the loop's own work included
};

// Times each call for so many seconds; at least a few calls are made however long they take.
Stretch time_calls(const Call& call, double seconds);

constexpr size_t kMinSamples = 5;

double median(std::vector<double> values);

// Of this process, from /proc.
double resident_mib();
double peak_mib();

// Has glibc give freed pages back, or the second load would reuse the first one's and seem to cost nothing.
void return_free_memory();

}  // namespace edgeseg
