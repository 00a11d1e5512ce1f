#pragma once

/// @file Arrays of Python as the kernels take them: read through the buffer protocol, which is several times
/// faster than making an `nb::ndarray` of each, and a call has twenty of them.

#include <nanobind/nanobind.h>

#include <algorithm>
#include <type_traits>

#include "gru.hpp"

namespace grus {

/// @brief The memory of a Python object, for as long as this lives.
class Buffer {
  public:
    explicit Buffer(nanobind::handle array, int flags = PyBUF_STRIDES | PyBUF_FORMAT) {
        held_ = PyObject_GetBuffer(array.ptr(), &view_, flags) == 0;
        if (!held_) PyErr_Clear();
    }
    ~Buffer() {
        if (held_) PyBuffer_Release(&view_);
    }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    /// Whether it holds numbers of this type, aligned, with a contiguous last axis.
    template <class Number>
    bool holds() const {
        if (!held_ || view_.ndim < 1 || !view_.format || view_.format[0] != code<Number>() || view_.format[1])
            return false;
        constexpr auto size = static_cast<Py_ssize_t>(sizeof(Number));
        const int last = view_.ndim - 1;
        if (view_.shape[last] > 1 && view_.strides[last] != size) return false;
        for (int i = 0; i < last; ++i)
            if (view_.strides[i] % size) return false;
        return reinterpret_cast<std::uintptr_t>(view_.buf) % sizeof(Number) == 0;
    }
    int ndim() const { return view_.ndim; }
    Size shape(int axis) const { return view_.shape[axis]; }
    Size stride(int axis) const { return view_.strides[axis]; }  // in bytes
    void* data() const { return view_.buf; }

  private:
    template <class Number>
    static constexpr char code() {
        if constexpr (std::is_same_v<Number, bool>)
            return '?';
        else
            return sizeof(Number) == 4 ? 'f' : 'd';
    }

    Py_buffer view_{};
    bool held_;
};

/// @brief An argument that is such an array, or None where the binding says so; it keeps the array alive.
template <class Number, int ndim>
struct Array {
    nanobind::object owner;
    Number* data = nullptr;  ///< null: None
    Size shape[ndim]{};
    Size stride[ndim]{};  ///< in elements

    bool take(nanobind::handle array);
    /// Whether it is None or of this shape.
    template <class... Sizes>
    bool fits(Sizes... sizes) const {
        static_assert(sizeof...(Sizes) == ndim);
        const Size expected[] = {sizes...};
        return !data || std::equal(shape, shape + ndim, expected);
    }
    bool is_whole() const {
        Size expected = 1;
        for (int i = ndim - 1; i >= 0; expected *= shape[i--])
            if (shape[i] > 1 && stride[i] != expected) return false;
        return true;
    }
};

/// @brief The same, contiguous in all axes.
template <class Number, int ndim>
struct Whole : Array<Number, ndim> {
    bool take(nanobind::handle array) { return Array<Number, ndim>::take(array) && this->is_whole(); }
};

template <class Number, int ndim>
bool Array<Number, ndim>::take(nanobind::handle array) {
    constexpr int writable = std::is_const_v<Number> ? 0 : PyBUF_WRITABLE;
    using Plain = std::remove_const_t<Number>;
    const Buffer buffer(array, PyBUF_STRIDES | PyBUF_FORMAT | writable);
    if (!buffer.template holds<Plain>() || buffer.ndim() != ndim) return false;
    for (int i = 0; i < ndim; ++i) {
        shape[i] = buffer.shape(i);
        stride[i] = buffer.stride(i) / static_cast<Size>(sizeof(Plain));
    }
    data = static_cast<Number*>(buffer.data());
    owner = nanobind::borrow(array);
    return true;
}

}  // namespace grus

namespace nanobind::detail {

template <class Made>
struct buffer_caster {
    NB_TYPE_CASTER(Made, const_name("numpy.ndarray"))
    bool from_python(handle source, uint8_t, cleanup_list*) noexcept {
        return source.is_none() || value.take(source);  // None arrives only where the binding accepts it
    }
};

template <class Number, int ndim>
struct type_caster<grus::Array<Number, ndim>> : buffer_caster<grus::Array<Number, ndim>> {};
template <class Number, int ndim>
struct type_caster<grus::Whole<Number, ndim>> : buffer_caster<grus::Whole<Number, ndim>> {};

}  // namespace nanobind::detail
