/// @file One instruction set's kernels for one scalar type. CMake compiles this file once for each pair, with
/// GRUS_REAL float or double and GRUS_TABLE the name of the table that it defines.

#include "backward.hpp"
#include "forward.hpp"

namespace grus {
namespace {

void activate_all(const Activation& activation, const Real* in, Real* out, Size count) {
    const FlushDenormals flush;
    for (Size i = 0; i < count; i += W)
        store(out + i, activate(activation, load(in + i, count - i)), count - i);
}

}  // namespace

extern const Kernels<Real> GRUS_TABLE;
const Kernels<Real> GRUS_TABLE = {forward_scratch, forward, backward_scratch, backward,
                                  activate_all,    W,       block_rows};

}  // namespace grus
