// Which instruction sets there are, and the one in use.

#pragma once

#include <string_view>
#include <vector>

#include "kernel.h"

namespace gru {

// Those that this machine runs, the fastest first.
std::vector<const Level*> levels();

// The one in use: the fastest, unless another has been chosen.
const Level& level();

// Chooses one by its name; false if this machine does not run it.
bool use_level(std::string_view name);

}  // namespace gru
