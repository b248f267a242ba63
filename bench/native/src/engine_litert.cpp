// LiteRT with its XNNPACK delegate, through the C interface of libLiteRt.so.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <utility>

#include "engine.h"
#include "errors.h"
#include "litert_api.h"

namespace edgeseg {
namespace {

void check(LiteRtStatus status, const char* step) {
  if (status != kLiteRtStatusOk)
    throw Failure(std::string("LiteRT could not ") + step + ", status " + std::to_string(status));
}

// Gives a handle back to LiteRT when it goes.
template <typename Handle, void (*kRelease)(Handle)>
class Owned {
 public:
  Owned() = default;
  Owned(Owned&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  ~Owned() {
    if (handle_ != nullptr) kRelease(handle_);
  }
  Handle* out() { return &handle_; }
  Handle get() const { return handle_; }

 private:
  Handle handle_ = nullptr;
};

// One input or output with the memory that LiteRT reads or writes.
struct Port {
  LiteRtRankedTensorType type;
  Owned<LiteRtTensorBuffer, LiteRtDestroyTensorBuffer> buffer;
  void* memory;
  // int8 outputs are handed on as real numbers; a scale of 0 means that there is nothing to undo.
  LiteRtQuantizationPerTensorData quantization{0, 0};
  std::vector<float> real;

  std::vector<int64_t> shape() const { return {type.layout.dimensions, type.layout.dimensions + type.layout.rank}; }
};

Port make_port(LiteRtTensor tensor, LiteRtTensorBufferRequirements wanted) {
  Port port;
  check(LiteRtGetRankedTensorType(tensor, &port.type), "read a tensor's type");
  size_t bytes = 0;
  check(LiteRtGetTensorBufferRequirementsBufferSize(wanted, &bytes), "say how large a tensor is");
  const size_t rounded =
      (bytes + kLiteRtHostMemoryAlignment - 1) / kLiteRtHostMemoryAlignment * kLiteRtHostMemoryAlignment;
  port.memory = std::aligned_alloc(kLiteRtHostMemoryAlignment, rounded);
  check(LiteRtCreateTensorBufferFromHostMemory(&port.type, port.memory, rounded, std::free, port.buffer.out()),
        "take a tensor's memory");
  return port;
}

class LiteRtEngine : public Engine {
 public:
  explicit LiteRtEngine(const EngineRequest& request) {
    check(LiteRtCreateEnvironment(0, nullptr, environment_.out()), "start");
    check(LiteRtCreateModelFromFile(environment_.get(), request.path.c_str(), model_.out()), "read the file");
    compile(request.threads);
    LiteRtSignature signature;
    check(LiteRtGetModelSignature(model_.get(), 0, &signature), "find the file's signature");
    add_input(signature, request);
    add_outputs(signature);
  }

  void upload(const uint8_t* image) override { std::memcpy(input_->memory, image, input_bytes_); }

  void network() override {
    LiteRtTensorBuffer input = input_->buffer.get();
    check(LiteRtRunCompiledModel(compiled_.get(), 0, 1, &input, buffers_.size(), buffers_.data()), "run");
  }

  const std::vector<View>& readout() override {
    for (Port& port : outputs_) {
      const auto* quantized = static_cast<const int8_t*>(port.memory);
      const auto zero = static_cast<float>(port.quantization.zero_point);
      const float scale = port.quantization.scale;
      for (size_t i = 0; i < port.real.size(); ++i) port.real[i] = (static_cast<float>(quantized[i]) - zero) * scale;
    }
    return views_;
  }

  std::string accelerator() override {
    bool is_whole = false;
    check(LiteRtCompiledModelIsFullyAccelerated(compiled_.get(), &is_whole), "say what runs the file");
    return is_whole ? "XNNPACK: every operator" : "XNNPACK, and LiteRT's own kernels for the rest";
  }

 private:
  void compile(int threads) {
    Owned<LiteRtOptions, LiteRtDestroyOptions> options;
    check(LiteRtCreateOptions(options.out()), "make options");
    check(LiteRtSetOptionsHardwareAccelerators(options.get(), kLiteRtHwAcceleratorCpu), "choose the CPU");
    LiteRtOpaqueOptions cpu;  // TOML under the name "xnnpack", as litert/c/options/litert_cpu_options.cc writes it
    char* toml = strdup(("num_threads = " + std::to_string(threads) + "\n").c_str());
    check(LiteRtCreateOpaqueOptions("xnnpack", toml, std::free, &cpu), "make options of the CPU");
    check(LiteRtAddOpaqueOptions(options.get(), cpu), "take the number of threads");
    check(LiteRtCreateCompiledModel(environment_.get(), model_.get(), options.get(), compiled_.out()),
          "prepare the file");
  }

  void add_input(LiteRtSignature signature, const EngineRequest& request) {
    size_t count = 0;
    check(LiteRtGetNumSignatureInputs(signature, &count), "count inputs");
    if (count != 1) throw BadInput(request.path + " has " + std::to_string(count) + " inputs, one image is expected");
    LiteRtTensor tensor;
    LiteRtTensorBufferRequirements wanted;
    check(LiteRtGetSignatureInputTensorByIndex(signature, 0, &tensor), "find the input");
    check(LiteRtGetCompiledModelInputBufferRequirements(compiled_.get(), 0, 0, &wanted), "describe the input");
    input_ = std::make_unique<Port>(make_port(tensor, wanted));
    const View found{Dtype::kUint8, input_->shape(), nullptr};
    const std::vector<int64_t> expected = {1, request.height, request.width, 3};
    if (input_->type.element_type != kLiteRtElementTypeUInt8 || found.shape != expected) {
      throw BadInput(request.path + " takes " + describe(found) + ", not an image of image_size");
    }
    input_bytes_ = found.size();
  }

  // Names are output_0, output_1, ... in the graph's order; the signature may list them otherwise.
  void add_outputs(LiteRtSignature signature) {
    size_t count = 0;
    check(LiteRtGetNumSignatureOutputs(signature, &count), "count outputs");
    std::vector<std::string> names(count);
    for (size_t i = 0; i < count; ++i) {
      const char* name = nullptr;
      check(LiteRtGetSignatureOutputName(signature, i, &name), "name an output");
      names[i] = name;
    }
    std::vector<size_t> order(count);
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return names[a] < names[b]; });
    outputs_.reserve(count);
    for (size_t i = 0; i < count; ++i) {
      LiteRtTensor tensor;
      LiteRtTensorBufferRequirements wanted;
      check(LiteRtGetSignatureOutputTensorByIndex(signature, i, &tensor), "find an output");
      check(LiteRtGetCompiledModelOutputBufferRequirements(compiled_.get(), 0, i, &wanted), "describe an output");
      outputs_.push_back(make_port(tensor, wanted));
      buffers_.push_back(outputs_.back().buffer.get());
      prepare_real(outputs_.back(), tensor);
    }
    for (size_t i : order) views_.push_back(view_of(outputs_[i]));
  }

  static void prepare_real(Port& port, LiteRtTensor tensor) {
    if (port.type.element_type != kLiteRtElementTypeInt8) return;
    LiteRtQuantizationTypeId id;
    check(LiteRtGetQuantizationTypeId(tensor, &id), "say how an output is quantized");
    if (id != kLiteRtQuantizationPerTensor) throw Failure("LiteRT gives an int8 output without a scale");
    check(LiteRtGetPerTensorQuantization(tensor, &port.quantization), "read an output's scale");
    port.real.resize(View{Dtype::kUint8, port.shape(), nullptr}.size());
  }

  static View view_of(const Port& port) {
    switch (port.type.element_type) {
      case kLiteRtElementTypeInt8:
        return {Dtype::kFloat32, port.shape(), port.real.data()};
      case kLiteRtElementTypeFloat32:
        return {Dtype::kFloat32, port.shape(), port.memory};
      case kLiteRtElementTypeInt32:
        return {Dtype::kInt32, port.shape(), port.memory};
      case kLiteRtElementTypeUInt8:
        return {Dtype::kUint8, port.shape(), port.memory};
    }
    throw Failure("LiteRT gives an output of element type " + std::to_string(port.type.element_type));
  }

  // In this order, so that what is built on another goes first.
  Owned<LiteRtEnvironment, LiteRtDestroyEnvironment> environment_;
  Owned<LiteRtModel, LiteRtDestroyModel> model_;
  Owned<LiteRtCompiledModel, LiteRtDestroyCompiledModel> compiled_;
  std::unique_ptr<Port> input_;
  size_t input_bytes_ = 0;
  std::vector<Port> outputs_;
  std::vector<LiteRtTensorBuffer> buffers_;
  std::vector<View> views_;
};

}  // namespace
}  // namespace edgeseg

edgeseg::Engine* edgeseg_load(const edgeseg::EngineRequest& request) { return new edgeseg::LiteRtEngine(request); }

const char* edgeseg_version() { return "ai-edge-litert " EDGESEG_LITERT_VERSION " (C interface, XNNPACK)"; }
