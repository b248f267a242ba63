// ExecuTorch with the XNNPACK delegate, through its C++ Module.
#include <executorch/extension/module/module.h>
#include <executorch/extension/tensor/tensor.h>
#include <executorch/runtime/platform/platform.h>

#include "engine.h"
#include "errors.h"

// The library exports these, the wheel has no header for them.
namespace executorch::extension::threadpool {
class ThreadPool {
 public:
  size_t get_thread_count() const;
  bool _unsafe_reset_threadpool(uint32_t num_threads);
};
ThreadPool* get_threadpool();
}  // namespace executorch::extension::threadpool

namespace edgeseg {
namespace {

using executorch::aten::ScalarType;
using executorch::extension::Module;
using executorch::runtime::Error;

void check(Error error, const char* step) {
  if (error == Error::Ok) return;
  throw Failure(std::string("ExecuTorch could not ") + step + " (" + executorch::runtime::to_string(error) + ")");
}

Dtype dtype_of(ScalarType type) {
  switch (type) {
    case ScalarType::Byte:
      return Dtype::kUint8;
    case ScalarType::Int:
      return Dtype::kInt32;
    case ScalarType::Float:
      return Dtype::kFloat32;
    default:
      throw Failure("ExecuTorch gives an output of scalar type " + std::to_string(static_cast<int>(type)));
  }
}

// The pool is one for the process.
void use_threads(int threads) {
  auto* pool = executorch::extension::threadpool::get_threadpool();
  if (pool->get_thread_count() != static_cast<size_t>(threads) && !pool->_unsafe_reset_threadpool(threads)) {
    throw Failure("ExecuTorch could not use " + std::to_string(threads) + " threads");
  }
}

class ExecuTorchEngine : public Engine {
 public:
  explicit ExecuTorchEngine(const EngineRequest& request) : module_(request.path, Module::LoadMode::Mmap) {
    use_threads(request.threads);
    check(module_.load(), "read the file");
    check(module_.load_forward(), "prepare the file");
    const auto about = module_.method_meta("forward");
    check(about.error(), "describe the file");
    if (about->num_inputs() != 1) {
      throw BadInput(request.path + " has " + std::to_string(about->num_inputs()) + " inputs, one image is expected");
    }
    const auto input = about->input_tensor_meta(0);
    check(input.error(), "describe the input");
    const View found{Dtype::kUint8, {input->sizes().begin(), input->sizes().end()}, nullptr};
    const std::vector<int64_t> expected = {1, request.height, request.width, 3};
    if (input->scalar_type() != ScalarType::Byte || found.shape != expected) {
      throw BadInput(request.path + " takes " + describe(found) + ", not an image of image_size");
    }
    sizes_.assign(expected.begin(), expected.end());
  }

  // The tensor only points: the method copies it into its own memory.
  void upload(const uint8_t* image) override {
    image_ = executorch::extension::from_blob(const_cast<uint8_t*>(image), sizes_, ScalarType::Byte);
  }

  void network() override {
    auto outputs = module_.forward(*image_);
    check(outputs.error(), "run");
    outputs_ = std::move(*outputs);
  }

  const std::vector<View>& readout() override {
    views_.clear();
    for (const auto& value : outputs_) {
      const auto& output = value.toTensor();
      views_.push_back(
          {dtype_of(output.scalar_type()), {output.sizes().begin(), output.sizes().end()}, output.const_data_ptr()});
    }
    return views_;
  }

  std::string accelerator() override {
    const auto about = module_.method_meta("forward");
    return about->uses_backend("XnnpackBackend") ? "XNNPACK" : "none: portable operators";
  }

 private:
  Module module_;
  std::vector<executorch::aten::SizesType> sizes_;
  executorch::extension::TensorPtr image_;
  std::vector<executorch::runtime::EValue> outputs_;
  std::vector<View> views_;
};

}  // namespace
}  // namespace edgeseg

edgeseg::Engine* edgeseg_load(const edgeseg::EngineRequest& request) {
  executorch::runtime::pal_init();
  return new edgeseg::ExecuTorchEngine(request);
}

const char* edgeseg_version() { return "executorch " EDGESEG_EXECUTORCH_VERSION " (C++, portable + XNNPACK)"; }
