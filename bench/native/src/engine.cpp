#include "engine.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>

#include "errors.h"

namespace edgeseg {

EngineLibrary::EngineLibrary(const std::string& runtime) {
  constexpr std::array kKnown = {"executorch", "litert"};
  if (std::find(kKnown.begin(), kKnown.end(), runtime) == kKnown.end()) {
    throw BadInput("runtime \"" + runtime + "\": this runner knows executorch and litert");
  }
  const std::string name = "libedgeseg_" + runtime + ".so";
  void* library = dlopen(name.c_str(), RTLD_NOW);  // stays open: a process measures one runtime
  if (library == nullptr) throw BadInput("runtime \"" + runtime + "\" is not in this build (" + dlerror() + ")");
  load_ = reinterpret_cast<decltype(load_)>(dlsym(library, "edgeseg_load"));
  version_ = reinterpret_cast<decltype(version_)>(dlsym(library, "edgeseg_version"));
  if (load_ == nullptr || version_ == nullptr) throw Failure(name + " is of another build");
}

}  // namespace edgeseg
