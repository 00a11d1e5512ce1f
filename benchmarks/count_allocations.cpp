// Counts what a process asks of the C library's heap, when it is preloaded; glibc only.
#include <atomic>
#include <cerrno>
#include <cstddef>

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

static std::atomic<int> count{0};

int allocations() { return count; }  // int, because that is what ctypes takes a function to return

void* malloc(std::size_t size) {
    ++count;
    return __libc_malloc(size);
}

void* calloc(std::size_t n, std::size_t size) {
    ++count;
    return __libc_calloc(n, size);
}

void* realloc(void* old, std::size_t size) {
    ++count;
    return __libc_realloc(old, size);
}

void* memalign(std::size_t alignment, std::size_t size) {
    ++count;
    return __libc_memalign(alignment, size);
}

void* aligned_alloc(std::size_t alignment, std::size_t size) { return memalign(alignment, size); }

int posix_memalign(void** result, std::size_t alignment, std::size_t size) {
    *result = memalign(alignment, size);
    return *result ? 0 : ENOMEM;
}
}
