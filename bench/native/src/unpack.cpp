#include "unpack.h"

#include <zlib.h>

#include <cstdint>
#include <cstring>

#include "errors.h"
#include "sha256.h"

namespace edgeseg {
namespace {

constexpr std::string_view kMagic = "EDGEPACK";
constexpr size_t kHeader = 72, kRun = 16;
constexpr uint64_t kDeflateAtMost = 1032;  // bytes that one of deflate's can stand for

uint64_t little_endian(std::string_view bytes, size_t at, int count) {
  uint64_t value = 0;
  for (int i = count - 1; i >= 0; --i) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

void require(bool holds, const char* what) {
  if (!holds) throw BadInput(what);
}

std::string inflate_exactly(std::string_view stream, size_t size) {
  std::string bytes(size + 1, '\0');  // one more: a stream that goes on is noticed
  uLongf length = bytes.size();
  uLong consumed = stream.size();
  const int code = uncompress2(reinterpret_cast<Bytef*>(bytes.data()), &length,
                               reinterpret_cast<const Bytef*>(stream.data()), &consumed);
  require(code == Z_OK && length == size && consumed == stream.size(), "the deflated part is damaged");
  bytes.resize(size);
  return bytes;
}

}  // namespace

std::string unpack(std::string_view packed) {
  require(packed.size() >= kHeader && packed.substr(0, 8) == kMagic, "it does not start like a packed file");
  require(little_endian(packed, 8, 4) == 1, "it is of a version that this program does not read");
  const uint64_t num_runs = little_endian(packed, 12, 4), size = little_endian(packed, 16, 8);
  const uint64_t ternary_bytes = little_endian(packed, 56, 8), rest_bytes = little_endian(packed, 64, 8);
  require(ternary_bytes <= packed.size() && rest_bytes <= packed.size() &&
              packed.size() == kHeader + num_runs * kRun + ternary_bytes + rest_bytes,
          "it is cut short or too long");
  const std::string_view ternary = packed.substr(kHeader + num_runs * kRun, ternary_bytes);

  uint64_t end = 0, num_codes = 0;
  for (uint64_t run = 0; run < num_runs; ++run) {
    const uint64_t offset = little_endian(packed, kHeader + run * kRun, 8);
    const uint64_t length = little_endian(packed, kHeader + run * kRun + 8, 8);
    require(offset >= end && offset <= size && length <= size - offset, "its runs overlap or lie outside of the file");
    end = offset + length;
    num_codes += length;
  }
  require(ternary.size() == (num_codes + 4) / 5 && size - num_codes <= kDeflateAtMost * rest_bytes,
          "it states more bytes than what is stored of them can make");
  const std::string rest = inflate_exactly(packed.substr(packed.size() - rest_bytes), size - num_codes);

  std::string content;
  content.reserve(size);
  uint64_t code = 0, from_rest = 0;
  for (uint64_t run = 0; run < num_runs; ++run) {
    const uint64_t offset = little_endian(packed, kHeader + run * kRun, 8);
    const uint64_t length = little_endian(packed, kHeader + run * kRun + 8, 8);
    const uint64_t between = offset - content.size();
    content.append(rest, from_rest, between);
    from_rest += between;
    for (uint64_t i = 0; i < length; ++i, ++code) {
      static constexpr int kPlaces[] = {1, 3, 9, 27, 81};
      const int five = static_cast<uint8_t>(ternary[code / 5]);
      require(five <= 242, "a byte of five ternary digits is above 242");
      content += static_cast<char>(five / kPlaces[code % 5] % 3 - 1);
    }
  }
  content.append(rest, from_rest);
  const auto digest = sha256(content);
  require(std::memcmp(digest.data(), packed.data() + 24, digest.size()) == 0,
          "its content does not have the checksum that it states");
  return content;
}

}  // namespace edgeseg
