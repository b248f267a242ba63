// The panoptic merge of docs/merge.md, twin of edgeseg/merge.py.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor.h"

namespace edgeseg {

constexpr uint8_t kVoidSlot = 255;

// Thresholds are float32 before they are compared.
struct MergeConfig {
  float thing_threshold;
  float stuff_threshold;
  int min_area;
  int upsample;  // 1, 2 or 4
};

struct Merged {
  int64_t height;
  int64_t width;
  std::vector<uint8_t> slot_map;       // height x width, 255 = void
  std::vector<int32_t> slot_category;  // N, -1 = empty
  std::vector<float> slot_score;       // N, 0 = empty
};

// class_logits: float32 (N, K + 1), the last column is void; N <= 254. mask_logits: float32 (N, h, w).
// is_thing: K, by contiguous category index. Throws BadInput where the shapes do not belong together.
Merged merge_slots(const View& class_logits, const View& mask_logits, const MergeConfig& config,
                   const std::vector<bool>& is_thing);

}  // namespace edgeseg
