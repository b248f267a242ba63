// The two ways in which a run ends early. Visible, so that the runner catches what a runtime's library throws.
#pragma once

#include <stdexcept>

namespace edgeseg {

// What was handed over cannot be used: one line on stderr, exit code 2, as edgeseg.structures.InputError.
struct __attribute__((visibility("default"))) BadInput : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The runtime or the machine failed: one line on stderr, exit code 1.
struct __attribute__((visibility("default"))) Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace edgeseg
