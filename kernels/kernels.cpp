/// @file One instruction set's kernels for one scalar type. CMake compiles this file once for each pair, with
/// GRUS_REAL float or double and GRUS_TABLE the name of the table that it defines.

#include "backward.hpp"
#include "flush.hpp"
#include "forward.hpp"
#include "general_backward.hpp"

namespace grus {
namespace {

void activate_all(const Activation& activation, const Real* in, Real* out, Size count) {
    const FlushDenormals flush;
    for (Size i = 0; i < count; i += W)
        store(out + i, activate(activation, load(in + i, count - i)), count - i);
}

Size forward_scratch(const Forward<Real>& problem) {
    if (is_plain(problem.layer)) return plain_forward_scratch(problem);
    return GeneralForwardScratch(problem, nullptr).scratch.used();
}
void forward(const Forward<Real>& problem, Real* scratch, const Worker& worker) {
    const FlushDenormals flush;
    if (is_plain(problem.layer)) return plain_forward(problem, scratch, worker);
    general_forward(problem, scratch, worker);
}
Size backward_scratch(const Backward<Real>& problem, int workers) {
    if (is_plain(problem.layer)) return plain_backward_scratch(problem, workers);
    return general_backward_scratch(problem, workers);
}
void backward(const Backward<Real>& problem, Real* scratch, const Worker& worker) {
    const FlushDenormals flush;
    if (is_plain(problem.layer)) return plain_backward(problem, scratch, worker);
    general_backward(problem, scratch, worker);
}

}  // namespace

extern const Kernels<Real> GRUS_TABLE;
const Kernels<Real> GRUS_TABLE = {forward_scratch, forward, backward_scratch, backward,
                                  activate_all,    W,       block_rows};

}  // namespace grus
