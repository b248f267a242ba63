// SHA-256 (FIPS 180-4), so that a loader needs no cryptographic library.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace edgeseg {

std::array<uint8_t, 32> sha256(std::string_view bytes);

}  // namespace edgeseg
