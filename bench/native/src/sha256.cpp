#include "sha256.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <string>

namespace edgeseg {
namespace {

// The first 32 bits of the fractional part of the root of a prime, by integer arithmetic: exact on every machine.
uint32_t fraction_bits(uint64_t prime, int root) {
  // Largest x with (x / 2^32)^root <= prime.
  __uint128_t low = 0, high = static_cast<__uint128_t>(prime) << 32;
  const auto reaches = [&](__uint128_t x) {
    // x^root <= prime << (32 root), without overflow: x < 2^38, so x^2 < 2^76 and (x^2 >> 6) x < 2^108.
    if (root == 2) return x * x <= static_cast<__uint128_t>(prime) << 64;
    const __uint128_t square = x * x;  // compare square * x with prime << 96 in two halves
    const __uint128_t upper = (square >> 40) * x, lower = (square & ((static_cast<__uint128_t>(1) << 40) - 1)) * x;
    return upper + (lower >> 40) < static_cast<__uint128_t>(prime) << 56;
  };
  while (low + 1 < high) {
    const __uint128_t middle = (low + high) / 2;
    (reaches(middle) ? low : high) = middle;
  }
  return static_cast<uint32_t>(low);
}

struct Constants {
  std::array<uint32_t, 8> start{};
  std::array<uint32_t, 64> round{};

  Constants() {
    int found = 0;
    for (uint64_t candidate = 2; found < 64; ++candidate) {
      bool is_prime = true;
      for (uint64_t d = 2; d * d <= candidate; ++d) is_prime &= candidate % d != 0;
      if (!is_prime) continue;
      if (found < 8) start[found] = fraction_bits(candidate, 2);
      round[found++] = fraction_bits(candidate, 3);
    }
  }
};

}  // namespace

std::array<uint8_t, 32> sha256(std::string_view bytes) {
  static const Constants constants;
  std::array<uint32_t, 8> state = constants.start;
  std::string tail(bytes.substr(bytes.size() / 64 * 64));
  tail += '\x80';
  tail.resize((tail.size() + 8 + 63) / 64 * 64 - 8, '\0');
  for (int shift = 56; shift >= 0; shift -= 8) tail += static_cast<char>(uint64_t{bytes.size()} * 8 >> shift);

  const auto mix = [&](const char* block) {
    std::array<uint32_t, 64> w;
    for (int i = 0; i < 16; ++i) {
      w[i] = 0;
      for (int j = 0; j < 4; ++j) w[i] = w[i] << 8 | static_cast<uint8_t>(block[4 * i + j]);
    }
    for (int i = 16; i < 64; ++i) {
      const uint32_t a = w[i - 15], b = w[i - 2];
      w[i] = w[i - 16] + w[i - 7] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ a >> 3) +
             (std::rotr(b, 17) ^ std::rotr(b, 19) ^ b >> 10);
    }
    auto [a, b, c, d, e, f, g, h] = state;
    for (int i = 0; i < 64; ++i) {
      const uint32_t first = h + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) + ((e & f) ^ (~e & g)) +
                             constants.round[i] + w[i];
      const uint32_t second = (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      h = g, g = f, f = e, e = d + first, d = c, c = b, b = a, a = first + second;
    }
    const std::array<uint32_t, 8> after{a, b, c, d, e, f, g, h};
    for (int i = 0; i < 8; ++i) state[i] += after[i];
  };
  for (size_t at = 0; at + 64 <= bytes.size(); at += 64) mix(bytes.data() + at);
  for (size_t at = 0; at < tail.size(); at += 64) mix(tail.data() + at);

  std::array<uint8_t, 32> digest;
  for (int i = 0; i < 32; ++i) digest[i] = static_cast<uint8_t>(state[i / 4] >> (24 - 8 * (i % 4)));
  return digest;
}

}  // namespace edgeseg
