// The two passes: how the work is cut into stages and tasks.

#pragma once

#include "kernel.h"
#include "team.h"

namespace gru {

// Both throw std::bad_alloc.
void forward(const Level& level, const Forward& f, Pool& pool);
void backward(const Level& level, const Backward& f, Pool& pool);

}  // namespace gru
