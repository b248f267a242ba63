#include "letterbox.h"

#include <algorithm>

namespace edgeseg {
namespace {

constexpr int64_t kChannels = 3;

// Output i takes source[t] with weight[t] for t in [start[i], start[i + 1]); its weights sum to `total`.
struct Taps {
  std::vector<size_t> start = {0};
  std::vector<int64_t> source;
  std::vector<int64_t> weight;
  int64_t total;

  Taps(int64_t photo, int64_t fitted, bool is_shrinking) : total(is_shrinking ? photo : 2 * fitted) {
    for (int64_t y = 0; y < fitted; ++y) {
      is_shrinking ? cover(y, photo, fitted) : interpolate(y, photo, fitted);
      start.push_back(source.size());
    }
  }

  // Output y covers [y photo, (y + 1) photo), input i [i fitted, (i + 1) fitted).
  void cover(int64_t y, int64_t photo, int64_t fitted) {
    const int64_t from = y * photo, until = from + photo;
    for (int64_t i = from / fitted; i * fitted < until; ++i) {
      source.push_back(i);
      weight.push_back(std::min(until, (i + 1) * fitted) - std::max(from, i * fitted));
    }
  }

  // Between pixel centres; the last input repeats.
  void interpolate(int64_t y, int64_t photo, int64_t fitted) {
    const int64_t position = std::max<int64_t>(0, (2 * y + 1) * photo - fitted);
    const int64_t first = position / (2 * fitted), next = position % (2 * fitted);
    source.insert(source.end(), {first, std::min(first + 1, photo - 1)});
    weight.insert(weight.end(), {2 * fitted - next, next});
  }
};

void scale_row(const uint8_t* row, const Taps& columns, std::vector<int64_t>& scaled) {
  std::fill(scaled.begin(), scaled.end(), 0);
  for (size_t x = 0; x + 1 < columns.start.size(); ++x) {
    for (size_t tap = columns.start[x]; tap < columns.start[x + 1]; ++tap) {
      const uint8_t* pixel = row + columns.source[tap] * kChannels;
      for (int64_t c = 0; c < kChannels; ++c) scaled[x * kChannels + c] += columns.weight[tap] * pixel[c];
    }
  }
}

}  // namespace

Size fitted_size(Size photo, Size network) {
  if (photo.height * network.width >= photo.width * network.height) {
    const int64_t width = (2 * photo.width * network.height + photo.height) / (2 * photo.height);
    return {network.height, std::max<int64_t>(1, width)};
  }
  const int64_t height = (2 * photo.height * network.width + photo.width) / (2 * photo.width);
  return {std::max<int64_t>(1, height), network.width};
}

std::vector<uint8_t> letterbox(const uint8_t* image, Size photo, Size network) {
  const Size fitted = fitted_size(photo, network);
  const bool is_shrinking = fitted.height < photo.height;
  const Taps rows(photo.height, fitted.height, is_shrinking), columns(photo.width, fitted.width, is_shrinking);
  const int64_t total = rows.total * columns.total;
  std::vector<uint8_t> input(network.height * network.width * kChannels);
  std::vector<int64_t> scaled(fitted.width * kChannels), sums(scaled.size());
  int64_t held = -1;  // the photo row that `scaled` holds
  for (int64_t y = 0; y < fitted.height; ++y) {
    std::fill(sums.begin(), sums.end(), 0);
    for (size_t tap = rows.start[y]; tap < rows.start[y + 1]; ++tap) {
      if (rows.source[tap] != held) {
        held = rows.source[tap];
        scale_row(image + held * photo.width * kChannels, columns, scaled);
      }
      for (size_t x = 0; x < sums.size(); ++x) sums[x] += rows.weight[tap] * scaled[x];
    }
    uint8_t* out = input.data() + y * network.width * kChannels;
    for (size_t x = 0; x < sums.size(); ++x) out[x] = static_cast<uint8_t>((2 * sums[x] + total) / (2 * total));
  }
  return input;
}

}  // namespace edgeseg
