// The JSON that goes in and out: requests, results, and what of a bundle.json the merge needs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "merge.h"
#include "timing.h"

namespace edgeseg {

// As edgeseg.bench.worker.Request.
struct Request {
  std::string runtime;
  std::string path;
  int64_t height;
  int64_t width;
  int threads;
  double seconds;
  uint64_t seed;
  std::string images;   // "" = time; else answer these
  std::string answers;  // where the answers go
};

// Throws BadInput where a key is missing, unknown or of another type or range.
Request read_request(const std::string& path);

// As edgeseg.bench.worker.Split: medians of the parts of a call in milliseconds; none = there is no such part.
struct Split {
  std::optional<double> letterbox_ms;
  std::optional<double> upload_ms;
  std::optional<double> network_ms;
  std::optional<double> readout_ms;
  std::optional<double> merge_ms;
};

// As edgeseg.bench.worker.Result; what answers images has no samples.
struct Result {
  Stretch stretch;
  Warmup warmup;
  double load_ms;
  double peak_mib;
  double rss_delta_mib;
  std::string version;
  std::string accelerator;
  Split split;
  std::vector<int> cpus;
};

void write_result(const std::string& path, const Result& result);

struct MergeRule {
  MergeConfig config;
  std::vector<bool> is_thing;
};

// From the bundle.json beside an artifact. Throws BadInput where there is none or it says nothing about the merge.
MergeRule read_merge_rule(const std::string& artifact);

}  // namespace edgeseg
