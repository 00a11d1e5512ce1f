#pragma once

/// @file The thread pool. Its threads are started at first need, spin shortly for their next task, then
/// sleep. A forked child starts its own.

#include <atomic>
#include <cstdint>

namespace grus {

/// @brief Lets `count` threads wait for each other, any number of times.
class Barrier {
  public:
    explicit Barrier(int count) : count_(count) {}
    void wait();

  private:
    const int count_;
    alignas(128) std::atomic<int> arrived_{0};
    alignas(128) std::atomic<std::uint32_t> phase_{0};
};

/// @brief Runs task(context, i) for every i < count at the same time, i = 0 on the calling thread, and
/// returns when all have returned. Tasks may wait for each other, and may not throw.
using Task = void (*)(void* context, int index);

/// @brief The pool's threads, held for one call. Where another call holds them, the team is the caller alone.
class Team {
  public:
    explicit Team(int wanted);
    ~Team();
    Team(const Team&) = delete;
    Team& operator=(const Team&) = delete;
    int size() const { return size_; }
    void run(Task task, void* context);

  private:
    struct Pool* pool_ = nullptr;  // null: the caller alone
    int size_ = 1;
};

/// @brief How many threads a call may use: as set, or GRUS_NUM_THREADS, OMP_NUM_THREADS, or what the machine
/// leaves.
int num_threads();

/// @param count  at least 1; 0 goes back to the default
void set_num_threads(int count);

}  // namespace grus
