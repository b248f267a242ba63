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

// Winners of the enlarged maps. Only cells that the logits at their corners leave open are enlarged, which is exact:
// edgeseg/enlarged_argmax.py says why.
class Contest {
 public:
  Contest(int64_t height, int64_t width, int factor)
      : source_height_(height),
        source_width_(width),
        factor_(factor),
        rows_(height, factor),
        columns_(width, factor),
        best_(height * width, -kInfinity),
        before_(height * width, -kInfinity),
        winner_(height * width, kVoidSlot) {}

  // Slots in ascending order; `logits` outlives this.
  void enter(uint8_t slot, const float* logits) {
    for (size_t i = 0; i < winner_.size(); ++i) {
      if (logits[i] > best_[i]) {
        before_[i] = best_[i];
        best_[i] = logits[i];
        winner_[i] = slot;
      }
    }
    entered_.push_back({slot, logits, {}, 0});
  }

  Merged take() && {
    const int64_t height = source_height_ * factor_, width = source_width_ * factor_;
    if (factor_ == 1) return {height, width, std::move(winner_), {}, {}};
    std::vector<uint8_t> sure(winner_.size());
    for (size_t i = 0; i < sure.size(); ++i) sure[i] = is_clear(i) ? winner_[i] : kVoidSlot;
    std::vector<uint8_t> enlarged(height * width);
    // Tiles lie between neighbouring centres; the outermost stick out by half.
    for (int64_t i = 0; i <= source_height_; ++i) {
      const int64_t first_y = std::max<int64_t>(i * factor_ - factor_ / 2, 0);
      const int64_t end_y = std::min((i + 1) * factor_ - factor_ / 2, height);
      const int64_t top = rows_.first[first_y] * source_width_, bottom = rows_.next[first_y] * source_width_;
      for (int64_t j = 0; j <= source_width_; ++j) {
        const int64_t first_x = std::max<int64_t>(j * factor_ - factor_ / 2, 0);
        const int64_t end_x = std::min((j + 1) * factor_ - factor_ / 2, width);
        const int64_t left = columns_.first[first_x], right = columns_.next[first_x];
        const std::array<int64_t, 4> corners{top + left, bottom + left, top + right, bottom + right};
        const uint8_t slot = sure[corners[0]];
        const bool is_settled =
            slot != kVoidSlot && slot == sure[corners[1]] && slot == sure[corners[2]] && slot == sure[corners[3]];
        if (!is_settled) find_rivals(corners);
        for (int64_t y = first_y; y < end_y; ++y) {
          for (int64_t x = first_x; x < end_x; ++x) {
            enlarged[y * width + x] = is_settled ? slot : best_rival(rows_.weight[y], columns_.weight[x]);
          }
        }
      }
    }
    return {height, width, std::move(enlarged), {}, {}};
  }

 private:
  struct Entry {
    uint8_t slot;
    const float* logits;
    std::array<float, 4> corners;  // of the tile at hand: top left, bottom left, top right, bottom right
    float high;
  };

  static constexpr float kInfinity = std::numeric_limits<float>::infinity();
  static constexpr float kLowest = std::numeric_limits<float>::lowest();
  static constexpr float kSlack = 0x1p-20F;  // above the rounding errors of two enlarged values
  static constexpr float kTiny = 0x1p-100F;  // where that holds no more, as numbers become denormal

  bool is_clear(size_t i) const {
    const float before = std::max(before_[i], kLowest);
    return best_[i] - before > kSlack * std::max(std::fabs(best_[i]), std::fabs(before)) + kTiny;
  }

  // Slots that are not below another one's lowest corner with their highest.
  void find_rivals(const std::array<int64_t, 4>& corners) {
    float sure = -kInfinity;
    for (Entry& entry : entered_) {
      for (size_t k = 0; k < 4; ++k) entry.corners[k] = entry.logits[corners[k]];
      const auto& [a, b, c, d] = entry.corners;
      entry.high = std::max(std::max(a, b), std::max(c, d));
      if (a < kInfinity && b < kInfinity && c < kInfinity && d < kInfinity) {
        sure = std::max(sure, std::min(std::min(a, b), std::min(c, d)));
      }
    }
    rivals_.clear();
    const float bar = sure - kSlack * std::fabs(sure);
    for (const Entry& entry : entered_) {
      if (!(entry.high + kSlack * std::fabs(entry.high) + kTiny < bar)) rivals_.push_back(&entry);
    }
  }

  // Ties stay with the lower slot.
  uint8_t best_rival(float down, float across) const {
    float best = -kInfinity;
    uint8_t winner = kVoidSlot;
    for (const Entry* entry : rivals_) {
      const auto& [a, b, c, d] = entry->corners;
      const float at_left = a * (1 - down) + b * down;
      const float at_right = c * (1 - down) + d * down;
      const float value = at_left * (1 - across) + at_right * across;
      if (value > best) {
        best = value;
        winner = entry->slot;
      }
    }
    return winner;
  }

  int64_t source_height_, source_width_;
  int factor_;
  Neighbours rows_, columns_;
  std::vector<float> best_, before_;  // largest logit, and the largest of the slots before the winner
  std::vector<uint8_t> winner_;
  std::vector<Entry> entered_;
  std::vector<const Entry*> rivals_;
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
