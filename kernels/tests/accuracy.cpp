/// @file How far an instruction set's activations are from the truth: those of float over every STRIDE-th
/// float there is, those of double on random and special numbers. Linked with kernels.cpp for float (its
/// table named table_f32) and for double (table_f64); `tests/test_accuracy.py` builds and runs it.
///
///     accuracy float STRIDE | accuracy double COUNT
///
/// Prints for each function the largest error in units of the last place (ulp), and where it is. The truth
/// for a float is the double kernel's result, whose own error is some 2^-29 float ulp; for a double it is the
/// C library's long double. Kernels take and give zeros for numbers that are not normal, so there zero is
/// right too.

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <vector>

#include "problem.hpp"

namespace grus {

void wait(Barrier*) {}
extern const Kernels<float> GRUS_F32;
extern const Kernels<double> GRUS_F64;

}  // namespace grus

namespace {

using namespace grus;

struct Tested {
    const char* name;
    Activation activation;
    int flushed;  // smallest normal numbers: what is below may become zero
};
// elu takes half its argument on the way, and scaled_tanh beta times it: those have to be normal numbers too
constexpr Tested tested[] = {{"sigmoid", {Function::sigmoid, 0, 0, 0}, 1},
                             {"tanh", {Function::tanh, 0, 0, 0}, 1},
                             {"elu", {Function::elu, 1, 0, 0}, 2},
                             {"softsign", {Function::softsign, 0, 0, 0}, 1},
                             {"softplus", {Function::softplus, 0, 0, 0}, 1},
                             {"scaled_tanh", {Function::scaled_tanh, 1.75, 0.625, 0}, 2}};
constexpr Size chunk = 4096;

struct Worst {
    double ulp = 0, at = 0;
};

/// 2^k <= x < 2^(k+1), for normal x > 0; infinity for infinity.
double power_of_two(double x) {
    std::uint64_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    bits &= 0x7ff0000000000000u;
    std::memcpy(&x, &bits, sizeof bits);
    return x;
}
long double power_of_two(long double x) { return std::isinf(x) ? x : std::ldexp(1.0L, std::ilogb(x)); }

/// The error of `found` in ulp of its type; infinite where NaN, infinity or a sign is wrong. Free of
/// branches, so that the compiler makes vectors of it.
template <class Found, class Exact>
double error_in_ulp(Found found, Exact exact, int flushed) {
    constexpr Exact least = std::numeric_limits<Found>::min();
    const Exact size = std::fabs(exact) < least ? least : std::fabs(exact);
    const Exact error =
        std::fabs(found - exact) / (power_of_two(size) * std::numeric_limits<Found>::epsilon());
    const bool nan = (found != found) & (exact != exact);
    const bool right = nan | (found == exact) | ((found == 0) & (std::fabs(exact) < flushed * least));
    const bool sign_right = nan | (std::signbit(found) == std::signbit(exact));
    const bool known = sign_right & (right | (error == error));
    return !known ? HUGE_VAL : right ? 0.0 : static_cast<double>(error);
}

template <class Found, class Exact>
void compare(const Found* in, const Found* found, const Exact* exact, Size count, int flushed, Worst& worst) {
    double most = 0;
    for (Size i = 0; i < count; ++i) {
        const double error = error_in_ulp(found[i], exact[i], flushed);
        most = error > most ? error : most;
    }
    if (most <= worst.ulp) return;
    for (Size i = 0; i < count; ++i)
        if (error_in_ulp(found[i], exact[i], flushed) == most) worst = {most, static_cast<double>(in[i])};
}

void floats(std::uint64_t stride) {
    std::vector<float> in(chunk), found(chunk);
    std::vector<double> wide(chunk), exact(chunk);
    for (const Tested& each : tested) {
        Worst worst;
        for (std::uint64_t first = 0; first < std::uint64_t{1} << 32; first += chunk * stride) {
            for (Size i = 0; i < chunk; ++i) {
                const auto bits = static_cast<std::uint32_t>(first + static_cast<std::uint64_t>(i) * stride);
                std::memcpy(&in[i], &bits, sizeof bits);
                wide[i] = in[i];
            }
            GRUS_F32.activate(each.activation, in.data(), found.data(), chunk);
            GRUS_F64.activate(each.activation, wide.data(), exact.data(), chunk);
            compare(in.data(), found.data(), exact.data(), chunk, each.flushed, worst);
        }
        std::printf("%s %.4f at %.9g\n", each.name, worst.ulp, worst.at);
    }
}

long double exact_value(const Activation& activation, long double x) {
    switch (activation.function) {
        case Function::sigmoid:
            return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x));
        case Function::tanh:
            return std::tanh(x);
        case Function::elu:
            return x < 0 ? std::expm1(x) : x;
        case Function::softplus:
            return std::log1p(std::exp(-std::fabs(x))) + (x < 0 ? 0 : x);
        case Function::scaled_tanh:
            return activation.alpha * std::tanh(activation.beta * x);
        default:
            return x / (1 + std::fabs(x));
    }
}

/// Infinities, NaN, zeros, and both sides of every place where a kernel changes its way of computing.
std::vector<double> special_numbers() {
    std::vector<double> numbers;
    const double infinity = std::numeric_limits<double>::infinity();
    for (const double edge :
         {0.0, 0.3125, 0.625, 1.0, 1.25, 354.198, 708.39641853226408, 709.78, 745.13, 1e300, 5e-324,
          std::numeric_limits<double>::min(), std::numeric_limits<double>::max(), infinity})
        for (const double number : {edge, std::nextafter(edge, 0.0), std::nextafter(edge, infinity)})
            numbers.insert(numbers.end(), {number, -number});
    numbers.push_back(std::numeric_limits<double>::quiet_NaN());
    return numbers;
}

void doubles(Size count) {
    grus::tests::Random random(1);
    std::vector<double> in = special_numbers();
    while (static_cast<Size>(in.size()) < count) {
        const double scale = std::exp2(random.number() * 40 - 28);  // 2^-68 ... 2^12
        in.push_back(random.number() * scale);
    }
    std::vector<double> found(in.size());
    std::vector<long double> exact(in.size());
    for (const Tested& each : tested) {
        Worst worst;
        const auto size = static_cast<Size>(in.size());
        GRUS_F64.activate(each.activation, in.data(), found.data(), size);
        for (Size i = 0; i < size; ++i) exact[i] = exact_value(each.activation, in[i]);
        compare(in.data(), found.data(), exact.data(), size, each.flushed, worst);
        std::printf("%s %.4f at %.17g\n", each.name, worst.ulp, worst.at);
    }
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 3) return 2;
    const auto number = std::strtoull(arguments[2], nullptr, 10);
    if (std::strcmp(arguments[1], "float") == 0) {
        floats(number);
    } else {
        doubles(static_cast<Size>(number));
    }
}
