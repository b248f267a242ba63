// What the runner asks of a runtime, and how it finds one.
//
// Each runtime is a shared library of its own, libedgeseg_NAME.so, opened when it is asked for: memory is then that
// runtime's alone, and a build without one of the SDKs still has the others.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tensor.h"

namespace edgeseg {

// One loaded artifact.
class Engine {
 public:
  virtual ~Engine() = default;

  // The stages of a call, in this order. Each throws Failure where the runtime reports an error.
  virtual void upload(const uint8_t* image) = 0;  // H x W x 3 uint8 RGB, must live until `network` has returned
  virtual void network() = 0;
  virtual const std::vector<View>& readout() = 0;  // in the graph's order, valid until the next `network`

  // What runs the operators of the file, in words.
  virtual std::string accelerator() = 0;

  const std::vector<View>& run(const uint8_t* image) {
    upload(image);
    network();
    return readout();
  }
};

struct EngineRequest {
  std::string path;
  int64_t height;
  int64_t width;
  int threads;
};

// A runtime's library.
class EngineLibrary {
 public:
  // Opens libedgeseg_NAME.so. Throws BadInput where there is no such runtime in this build.
  explicit EngineLibrary(const std::string& runtime);

  // Throws BadInput where the file takes another image, Failure where the runtime refuses it.
  std::unique_ptr<Engine> load(const EngineRequest& request) const { return std::unique_ptr<Engine>(load_(request)); }

  // Name and version, for the record.
  std::string version() const { return version_(); }

 private:
  Engine* (*load_)(const EngineRequest& request);
  const char* (*version_)();
};

}  // namespace edgeseg

// What every runtime's library exports; the caller owns the engine.
extern "C" {
__attribute__((visibility("default"))) edgeseg::Engine* edgeseg_load(const edgeseg::EngineRequest& request);
__attribute__((visibility("default"))) const char* edgeseg_version();
}
