// edgeseg-spec FOLDER: holds the merge and the letterbox to the cases of apps/spec, one line per case that fails.
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>

#include "errors.h"
#include "files.h"
#include "letterbox.h"
#include "merge.h"

namespace edgeseg {
namespace {

using nlohmann::json;

constexpr double kScoreTolerance = 1e-5;  // apps/spec/README.md: exp differs between libraries

// A raw array beside the JSON.
struct Array {
  std::string bytes;
  View view;

  Array(const std::string& folder, const json& entry) : bytes(read_file(folder + "/" + std::string(entry["file"]))) {
    view = {entry["dtype"] == "uint8" ? Dtype::kUint8 : Dtype::kFloat32, entry["shape"], bytes.data()};
    if (view.bytes() != bytes.size()) throw BadInput(std::string(entry["file"]) + " has another length than its shape");
  }
};

bool holds_merge(const std::string& folder, const json& entry) {
  const Array class_logits(folder, entry["class_logits"]), mask_logits(folder, entry["mask_logits"]);
  const Array slot_map(folder, entry["slot_map"]);
  const json& rule = entry["merge"];
  const Merged merged = merge_slots(
      class_logits.view, mask_logits.view,
      {rule["thing_threshold"], rule["stuff_threshold"], rule["min_area"], rule["upsample"]}, entry["is_thing"]);
  bool is_right = std::equal(merged.slot_map.begin(), merged.slot_map.end(), slot_map.view.as<uint8_t>(),
                             slot_map.view.as<uint8_t>() + slot_map.view.size()) &&
                  slot_map.view.shape == std::vector<int64_t>{merged.height, merged.width} &&
                  merged.slot_category == entry["slot_category"].get<std::vector<int32_t>>() &&
                  merged.slot_score.size() == entry["slot_score"].size();
  for (size_t i = 0; is_right && i < merged.slot_score.size(); ++i) {
    is_right = std::abs(merged.slot_score[i] - entry["slot_score"][i].get<double>()) <= kScoreTolerance;
  }
  return is_right;
}

Size size_of(const json& pair) { return {pair[0], pair[1]}; }

bool holds_letterbox(const std::string& folder, const json& entry) {
  const Array image(folder, entry["image"]), expected(folder, entry["letterboxed"]);
  const Size photo = size_of(entry["photo_size"]), network = size_of(entry["network_size"]);
  const std::vector<uint8_t> found = letterbox(image.view.as<uint8_t>(), photo, network);
  return fitted_size(photo, network) == size_of(entry["fitted"]) &&
         std::equal(found.begin(), found.end(), expected.bytes.begin(), expected.bytes.end(),
                    [](uint8_t a, char b) { return a == static_cast<uint8_t>(b); });
}

// Number of cases that fail.
int check(const std::string& folder, const std::string& file, bool (*holds)(const std::string&, const json&)) {
  const json cases = json::parse(read_file(folder + "/" + file)).at("cases");
  int failed = 0;
  for (const json& entry : cases) {
    if (holds(folder, entry)) continue;
    std::cerr << file << ": " << std::string(entry["name"]) << " differs\n";
    ++failed;
  }
  std::cout << file << ": " << cases.size() - failed << " of " << cases.size() << " cases hold\n";
  return failed;
}

}  // namespace
}  // namespace edgeseg

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: edgeseg-spec FOLDER\n";
    return 2;
  }
  try {
    using namespace edgeseg;
    const int failed = check(argv[1], "merge.json", holds_merge) + check(argv[1], "letterbox.json", holds_letterbox);
    return failed == 0 ? 0 : 1;
  } catch (const std::exception& error) {
    std::cerr << "edgeseg-spec: " << error.what() << "\n";
    return 2;
  }
}
