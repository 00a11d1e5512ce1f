/// @file The drawing of masks in Python. What is no whole array of float32 or float64, no BitGenerator's
/// capsule or no probability is refused with a TypeError; `src/grus/_masks.py` gives nothing of the kind.

#include "bindings_masks.hpp"

#include <optional>
#include <string_view>

#include "buffer.hpp"
#include "masks.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace grus;

namespace {

constexpr Size worth_letting_others_run = 1 << 16;  // numbers

template <class Real>
bool draw(const BitGenerator& generator, double p, double value, const Buffer& out) {
    if (!out.holds<Real>()) return false;
    Size count = 1;
    for (int i = 0; i < out.ndim(); ++i) count *= out.shape(i);
    std::optional<nb::gil_scoped_release> release;
    if (count > worth_letting_others_run) release.emplace();
    draw_mask(generator, p, static_cast<Real>(value), static_cast<Real*>(out.data()), count);
    return true;
}

void draw_into(nb::handle out, const nb::capsule& generator, double p, double value) {
    const char* name = generator.name();
    if (!name || std::string_view(name) != "BitGenerator" || !(p >= 0 && p <= 1)) throw nb::next_overload();
    const auto& bits = *static_cast<const BitGenerator*>(generator.data());
    const Buffer buffer(out, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | PyBUF_WRITABLE);
    if (!draw<float>(bits, p, value, buffer) && !draw<double>(bits, p, value, buffer))
        throw nb::next_overload();
}

}  // namespace

void bind_masks(nb::module_& m) { m.def("draw_mask", &draw_into, "out"_a, "generator"_a, "p"_a, "value"_a); }
