// edgeseg-runner REQUEST.json RESULT.json: loads one artifact and times it, or answers images.
//
// The same requests and results as python -m edgeseg.bench.worker; see docs/native.md.
#include <sched.h>

#include <algorithm>
#include <iostream>
#include <random>

#include "answer.h"
#include "engine.h"
#include "errors.h"
#include "letterbox.h"
#include "quiet.h"
#include "records.h"
#include "timing.h"

namespace edgeseg {
namespace {

constexpr Size kPhoto = {720, 1280};                      // what is letterboxed: a phone camera's usual preview
constexpr double kSplitShare = 0.1, kSplitSeconds = 2.0;  // of the timed stretch, and at most, for calls in stages

// Noise; the graph's time does not depend on what it sees.
std::vector<uint8_t> noise(const Request& request) {
  std::mt19937_64 generator(request.seed);
  std::vector<uint8_t> image(request.height * request.width * 3);
  for (uint8_t& byte : image) byte = static_cast<uint8_t>(generator());
  return image;
}

double letterbox_ms(const Request& request) {
  const std::vector<uint8_t> photo(kPhoto.height * kPhoto.width * 3);
  std::vector<double> times(kMinSamples);
  for (double& time : times) {
    time = milliseconds([&] { letterbox(photo.data(), kPhoto, {request.height, request.width}); });
  }
  return median(times);
}

// The first of them brings the bundle's settings in.
double merge_ms(Merger& merge, const std::vector<View>& outputs) {
  merge(outputs);
  std::vector<double> times(kMinSamples);
  for (double& time : times) time = milliseconds([&] { merge(outputs); });
  return median(times);
}

// Some more calls, stage by stage, and what stands before and after a call in an app.
Split split_calls(const Request& request, Engine& engine, const uint8_t* image) {
  std::vector<double> upload, network, readout;
  const std::vector<View>* outputs = nullptr;
  time_calls(
      [&] {
        upload.push_back(milliseconds([&] { engine.upload(image); }));
        network.push_back(milliseconds([&] { engine.network(); }));
        readout.push_back(milliseconds([&] { outputs = &engine.readout(); }));
      },
      std::min(kSplitShare * request.seconds, kSplitSeconds));
  Split split{letterbox_ms(request), median(upload), median(network), median(readout), {}};
  Merger merge(request.path);
  if (Merger::is_wanted(*outputs)) split.merge_ms = merge_ms(merge, *outputs);
  return split;
}

std::vector<int> usable_cpus() {
  cpu_set_t set;
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
}

Result run(const Request& request) {
  const EngineLibrary library(request.runtime);
  const EngineRequest wanted{request.path, request.height, request.width, request.threads};
  const std::vector<uint8_t> image = noise(request);
  // The first load brings the libraries in, so that the second counts the file alone.
  std::unique_ptr<Engine>(library.load(wanted))->run(image.data());
  return_free_memory();
  const double before_mib = resident_mib();
  std::unique_ptr<Engine> engine;
  Result result{};
  result.load_ms = milliseconds([&] { engine = library.load(wanted); });
  const Call call = [&] { engine->run(image.data()); };
  const bool is_timed = request.images.empty();
  if (is_timed) {
    result.warmup = warm_up(call);
  } else {
    answer_images(request, *engine);
    result.warmup = {0, true};
  }
  result.rss_delta_mib = resident_mib() - before_mib;
  if (is_timed) result.stretch = time_calls(call, request.seconds);
  result.peak_mib = peak_mib();  // before what only describes
  if (is_timed) result.split = split_calls(request, *engine, image.data());
  result.version = library.version();
  result.accelerator = engine->accelerator();
  result.cpus = usable_cpus();
  return result;
}

// The runtime's last line on stderr stands behind the message: it may know why.
void work(const std::string& request_path, const std::string& result_path) {
  const Request request = read_request(request_path);
  Quiet quiet;
  try {
    write_result(result_path, run(request));
  } catch (const Failure& failure) {
    const std::string said = quiet.last_line();
    throw Failure(request.path + ": " + failure.what() + (said.empty() ? "" : "; " + said));
  }
}

}  // namespace
}  // namespace edgeseg

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: edgeseg-runner REQUEST.json RESULT.json\n";
    return 2;
  }
  try {
    edgeseg::work(argv[1], argv[2]);
    return 0;
  } catch (const edgeseg::BadInput& error) {
    std::cerr << "edgeseg-runner: " << error.what() << "\n";
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "edgeseg-runner: " << error.what() << "\n";
    return 1;
  }
}
