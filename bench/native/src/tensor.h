// Arrays, row by row, as runtimes and safetensors files hold them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace edgeseg {

enum class Dtype { kUint8, kInt32, kFloat32 };

inline size_t bytes_of(Dtype dtype) { return dtype == Dtype::kUint8 ? 1 : 4; }

// Somebody else's memory; valid as long as its owner says.
struct View {
  Dtype dtype;
  std::vector<int64_t> shape;
  const void* data;

  size_t size() const {
    size_t count = 1;
    for (int64_t side : shape) count *= static_cast<size_t>(side);
    return count;
  }
  size_t bytes() const { return size() * bytes_of(dtype); }
  template <typename T>
  const T* as() const {
    return static_cast<const T*>(data);
  }
};

// "uint8 (1, 64, 64)", for messages.
std::string describe(const View& view);

}  // namespace edgeseg
