// The Python module: the handlers as XLA takes them, the version of its headers, what it was built
// from, the levels.

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <vector>

#include "ffi.h"
#include "levels.h"

namespace nb = nanobind;

NB_MODULE(_native, m) {
  m.def("handlers", [] {
    nb::dict found;
    found["gru_jax_forward"] = nb::capsule(reinterpret_cast<void*>(gru_jax_forward));
    found["gru_jax_backward"] = nb::capsule(reinterpret_cast<void*>(gru_jax_backward));
    return found;
  });
  m.def("api_version", [] { return nb::make_tuple(XLA_FFI_API_MAJOR, XLA_FFI_API_MINOR); });
  m.def("fingerprint", [] { return std::string(GRU_FINGERPRINT); });
  m.def("levels", [] {
    std::vector<std::string> names;
    for (const gru::Level* level : gru::levels()) names.emplace_back(level->name);
    return names;
  });
  m.def("level", [] { return std::string(gru::level().name); });
  m.def(
      "use_level",
      [](const std::string& name) {
        if (!gru::use_level(name)) {
          throw nb::value_error(
              ("use_level: name must be one of levels(), got " + name + ".").c_str());
        }
      },
      nb::arg("name"));
}
