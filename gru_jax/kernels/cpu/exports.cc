// What library.py asks the library; XLA's handlers are in ffi.cc. Texts are valid as long as it is
// loaded.

#include <string>

#include "ffi.h"
#include "levels.h"

// The version of XLA's FFI in the headers, as "major.minor".
GRU_EXPORT const char* gru_jax_api_version() {
  static const std::string version =
      std::to_string(XLA_FFI_API_MAJOR) + "." + std::to_string(XLA_FFI_API_MINOR);
  return version.c_str();
}

// What library.fingerprint returned of the sources.
GRU_EXPORT const char* gru_jax_fingerprint() { return GRU_FINGERPRINT; }

// The names of gru::levels(), with a space after each.
GRU_EXPORT const char* gru_jax_levels() {
  static const std::string names = [] {
    std::string text;
    for (const gru::Level* level : gru::levels()) text += std::string(level->name) + " ";
    return text;
  }();
  return names.c_str();
}

GRU_EXPORT const char* gru_jax_level() { return gru::level().name; }

// 0 if this machine does not run it.
GRU_EXPORT int gru_jax_use_level(const char* name) { return gru::use_level(name); }
