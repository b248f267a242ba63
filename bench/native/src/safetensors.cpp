#include "safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>

#include "errors.h"
#include "files.h"

namespace edgeseg {
namespace {

using nlohmann::json;

constexpr std::array<std::pair<Dtype, const char*>, 3> kNames = {
    {{Dtype::kUint8, "U8"}, {Dtype::kInt32, "I32"}, {Dtype::kFloat32, "F32"}}};
constexpr size_t kLengthBytes = 8;  // little-endian length of the header, as every processor here

Dtype dtype_of(const std::string& name) {
  for (const auto& [dtype, known] : kNames) {
    if (name == known) return dtype;
  }
  throw BadInput("dtype " + name + ", U8, I32 or F32 are read");
}

// Elements, 0 where there are more than `most`: a product of sides may not wrap.
size_t count_elements(const std::vector<int64_t>& shape, size_t most) {
  size_t count = 1;
  for (int64_t side : shape) {
    if (side < 1 || static_cast<size_t>(side) > most / count) return 0;
    count *= static_cast<size_t>(side);
  }
  return count;
}

View view_of(const json& entry, const char* data, size_t length) {
  View view{dtype_of(entry.at("dtype")), entry.at("shape"), nullptr};
  const std::array<size_t, 2> span = entry.at("data_offsets");
  const size_t count = count_elements(view.shape, length);
  if (count == 0 || span[0] > span[1] || span[1] > length || span[1] - span[0] != count * bytes_of(view.dtype)) {
    throw BadInput("an array's shape and place do not belong together");
  }
  view.data = data + span[0];
  return view;
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::string& path) : path_(path), bytes_(read_file(path)) {
  uint64_t header = 0;
  if (bytes_.size() >= kLengthBytes) std::memcpy(&header, bytes_.data(), kLengthBytes);
  if (header == 0 || header > bytes_.size() - kLengthBytes) throw BadInput(path + " is no safetensors file");
  const char* data = bytes_.data() + kLengthBytes + header;
  try {
    const json table = json::parse(data - header, data);
    for (const auto& [name, entry] : table.items()) {
      if (name != "__metadata__") views_[name] = view_of(entry, data, bytes_.size() - kLengthBytes - header);
    }
  } catch (const json::exception&) {
    throw BadInput(path + " is no safetensors file");
  } catch (const BadInput& error) {
    throw BadInput(path + ": " + error.what());
  }
}

const View& SafetensorsFile::at(const std::string& name) const {
  const auto found = views_.find(name);
  if (found == views_.end()) throw BadInput(path_ + " holds no array \"" + name + "\"");
  return found->second;
}

void write_safetensors(const std::string& path, const std::map<std::string, View>& tensors) {
  json table = json::object();
  size_t offset = 0;
  for (const auto& [name, view] : tensors) {
    const auto* known =
        std::find_if(kNames.begin(), kNames.end(), [&](auto& entry) { return entry.first == view.dtype; });
    table[name] = {{"dtype", known->second}, {"shape", view.shape}, {"data_offsets", {offset, offset + view.bytes()}}};
    offset += view.bytes();
  }
  std::string header = table.dump();
  header.resize((header.size() + kLengthBytes - 1) / kLengthBytes * kLengthBytes, ' ');  // arrays start aligned
  const uint64_t length = header.size();
  std::string bytes(reinterpret_cast<const char*>(&length), kLengthBytes);
  bytes += header;
  for (const auto& [name, view] : tensors) bytes.append(view.as<char>(), view.bytes());
  write_file(path, bytes);
}

}  // namespace edgeseg
