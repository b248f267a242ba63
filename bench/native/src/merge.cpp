// Compiled with -ffp-contract=off: a fused multiply-add would round otherwise than numpy and tip ties.
#include "merge.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <tuple>

#include "errors.h"

namespace edgeseg {
namespace {

constexpr int kLogitsStride = 4;  // pixels of the network's input per mask logit

// For each output position: the input below it, the next one, and the weight of the next one.
struct Neighbours {
  std::vector<int64_t> first;
  std::vector<int64_t> next;
  std::vector<float> weight;

  Neighbours(int64_t length, int factor) {
    for (int64_t i = 0; i < length * factor; ++i) {
      const double position = std::max((static_cast<double>(i) + 0.5) / factor - 0.5, 0.0);
      first.push_back(static_cast<int64_t>(position));
      next.push_back(std::min(first.back() + 1, length - 1));
      weight.push_back(static_cast<float>(position - static_cast<double>(first.back())));
    }
  }
};

// Best real category and its probability.
std::pair<int32_t, float> best_category(const float* logits, size_t num_categories) {
  const float largest = *std::max_element(logits, logits + num_categories + 1);
  std::vector<float> exponential(num_categories + 1);
  float sum = 0;
  for (size_t k = 0; k <= num_categories; ++k) sum += exponential[k] = std::exp(logits[k] - largest);
  for (float& value : exponential) value /= sum;
  const auto best = std::max_element(exponential.begin(), exponential.end() - 1);  // the lowest index on ties
  return {static_cast<int32_t>(best - exponential.begin()), *best};
}

// Gives a slot each pixel where it beats all earlier ones; ties stay with the lower slot.
class Contest {
 public:
  Contest(int64_t height, int64_t width, int factor)
      : source_width_(width),
        rows_(height, factor),
        columns_(width, factor),
        height_(height * factor),
        width_(width * factor),
        tall_(width),
        best_(height_ * width_, -std::numeric_limits<float>::infinity()),
        winner_(height_ * width_, kVoidSlot) {}

  void enter(uint8_t slot, const float* logits) {
    for (int64_t y = 0; y < height_; ++y) {
      const float* top = logits + rows_.first[y] * source_width_;
      const float* bottom = logits + rows_.next[y] * source_width_;
      const float down = rows_.weight[y];
      for (int64_t x = 0; x < source_width_; ++x) tall_[x] = top[x] * (1 - down) + bottom[x] * down;
      float* best = best_.data() + y * width_;
      uint8_t* winner = winner_.data() + y * width_;
      for (int64_t x = 0; x < width_; ++x) {
        const float across = columns_.weight[x];
        const float value = tall_[columns_.first[x]] * (1 - across) + tall_[columns_.next[x]] * across;
        if (value > best[x]) {
          best[x] = value;
          winner[x] = slot;
        }
      }
    }
  }

  Merged take() && { return {height_, width_, std::move(winner_), {}, {}}; }

 private:
  int64_t source_width_;
  Neighbours rows_, columns_;
  int64_t height_, width_;
  std::vector<float> tall_, best_;
  std::vector<uint8_t> winner_;
};

void require_shapes(const View& class_logits, const View& mask_logits, size_t num_categories) {
  const bool fit = class_logits.dtype == Dtype::kFloat32 && mask_logits.dtype == Dtype::kFloat32 &&
                   class_logits.shape.size() == 2 && mask_logits.shape.size() == 3 &&
                   class_logits.shape[0] == mask_logits.shape[0] && class_logits.shape[0] < kVoidSlot &&
                   class_logits.shape[1] == static_cast<int64_t>(num_categories) + 1;
  if (!fit) {
    throw BadInput("class_logits " + describe(class_logits) + " and mask_logits " + describe(mask_logits) +
                   " do not fit each other, " + std::to_string(num_categories) + " categories and at most 254 slots");
  }
}

}  // namespace

Merged merge_slots(const View& class_logits, const View& mask_logits, const MergeConfig& config,
                   const std::vector<bool>& is_thing) {
  require_shapes(class_logits, mask_logits, is_thing.size());
  const auto num_slots = static_cast<size_t>(class_logits.shape[0]);
  const int64_t height = mask_logits.shape[1], width = mask_logits.shape[2];
  std::vector<int32_t> category(num_slots);
  std::vector<float> score(num_slots);
  Contest contest(height, width, config.upsample);
  for (size_t slot = 0; slot < num_slots; ++slot) {
    const float* logits = class_logits.as<float>() + slot * (is_thing.size() + 1);
    std::tie(category[slot], score[slot]) = best_category(logits, is_thing.size());
    if (score[slot] >= (is_thing[category[slot]] ? config.thing_threshold : config.stuff_threshold)) {
      contest.enter(static_cast<uint8_t>(slot), mask_logits.as<float>() + slot * height * width);
    }
  }
  Merged merged = std::move(contest).take();

  std::array<int64_t, 256> area{};
  for (uint8_t slot : merged.slot_map) ++area[slot];
  const int64_t input_pixels = (kLogitsStride / config.upsample) * (kLogitsStride / config.upsample);
  std::array<uint8_t, 256> slot_or_void;
  slot_or_void.fill(kVoidSlot);
  merged.slot_category.assign(num_slots, -1);
  merged.slot_score.assign(num_slots, 0);
  for (size_t slot = 0; slot < num_slots; ++slot) {
    if (area[slot] == 0 || area[slot] * input_pixels < config.min_area) continue;
    slot_or_void[slot] = static_cast<uint8_t>(slot);
    merged.slot_category[slot] = category[slot];
    merged.slot_score[slot] = score[slot];
  }
  for (uint8_t& slot : merged.slot_map) slot = slot_or_void[slot];
  return merged;
}

}  // namespace edgeseg
