// Named arrays in one file, https://github.com/huggingface/safetensors#format.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tensor.h"

namespace edgeseg {

// A file's bytes and the arrays in them. Throws BadInput where the file is none or holds other dtypes than ours.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::string& path);

  // Throws BadInput where there is no such array.
  const View& at(const std::string& name) const;

 private:
  std::string path_;
  std::string bytes_;
  std::map<std::string, View> views_;
};

// Written aside and renamed. Throws Failure where it cannot be written.
void write_safetensors(const std::string& path, const std::map<std::string, View>& tensors);

}  // namespace edgeseg
