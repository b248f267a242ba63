// Gives back an artifact that `edgeseg pack` made smaller; twin of export/pack.py, layout in docs/ternary.md.
#pragma once

#include <string>
#include <string_view>

namespace edgeseg {

// The file that was packed, byte by byte, checked against the checksum that travels with it.
// Throws BadInput where the bytes are no packed file, of a newer version, cut short or damaged.
std::string unpack(std::string_view packed);

}  // namespace edgeseg
