// A photo into the network's input, apps/spec/README.md ("Letterbox").
#pragma once

#include <cstdint>
#include <vector>

namespace edgeseg {

struct Size {
  int64_t height;
  int64_t width;
  bool operator==(const Size&) const = default;
};

// The part of the network's input that a photo fills, at the top left.
Size fitted_size(Size photo, Size network);

// image: photo.height x photo.width x 3 uint8 RGB. Gives network.height x network.width x 3, zeros right and below.
std::vector<uint8_t> letterbox(const uint8_t* image, Size photo, Size network);

}  // namespace edgeseg
