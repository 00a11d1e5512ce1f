/// @file A block of memory in Python: bytes that an array can be laid on, through the buffer protocol.

#include "bindings_memory.hpp"

#include "memory.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

struct Memory {
    explicit Memory(std::size_t bytes) : block(bytes), bytes(static_cast<Py_ssize_t>(bytes)) {}
    grus::Block block;
    Py_ssize_t bytes;
};

int get_buffer(PyObject* self, Py_buffer* view, int flags) {
    const auto* memory = nb::inst_ptr<Memory>(self);
    return PyBuffer_FillInfo(view, self, memory->block.data(), memory->bytes, 0, flags);
}

PyType_Slot slots[] = {{Py_bf_getbuffer, reinterpret_cast<void*>(get_buffer)}, {0, nullptr}};

}  // namespace

void bind_memory(nb::module_& m) {
    nb::class_<Memory>(m, "Memory", nb::type_slots(slots)).def(nb::init<std::size_t>(), "bytes"_a);
    m.def("free_kept_memory", &grus::free_kept_memory);
}
