/// @file Empty tables of one instruction set, GRUS_ABSENT, that the machine running the tests lacks or that a
/// test does without: dispatch.cpp names all of them.

#include "gru.hpp"

namespace grus {

#define GRUS_JOIN(set, type) set##_##type
#define GRUS_TABLE_OF(set, type) GRUS_JOIN(set, type)
extern const Kernels<float> GRUS_TABLE_OF(GRUS_ABSENT, f32);
extern const Kernels<double> GRUS_TABLE_OF(GRUS_ABSENT, f64);
const Kernels<float> GRUS_TABLE_OF(GRUS_ABSENT, f32){};
const Kernels<double> GRUS_TABLE_OF(GRUS_ABSENT, f64){};

}  // namespace grus
