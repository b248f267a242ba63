#include "tensor.h"

namespace edgeseg {

std::string describe(const View& view) {
  std::string text = view.dtype == Dtype::kUint8 ? "uint8 (" : view.dtype == Dtype::kInt32 ? "int32 (" : "float32 (";
  for (size_t i = 0; i < view.shape.size(); ++i) text += (i ? ", " : "") + std::to_string(view.shape[i]);
  return text + ")";
}

}  // namespace edgeseg
