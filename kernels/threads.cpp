#include "threads.hpp"

#include <chrono>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "cpu_info.hpp"

#if !defined(_WIN32)
#include <pthread.h>
#endif
#if defined(__linux__)
#include <sched.h>
#endif

namespace grus {

/// @brief Where a thread of the pool runs. Linux likes to wake a thread on the core of the one that wakes it,
/// and leaves both there for many milliseconds, one waiting for the other. So the caller's core is closed to
/// a thread for as long as it takes it to start.
class Place {
  public:
#if defined(__linux__)
    void take(pthread_t thread) { thread_ = thread; }
    /// For the caller, before it hands over a task.
    void keep_away(bool asleep) {
        const int here = sched_getcpu();
        if (here < 0 || (!asleep && here != core_.load(std::memory_order_relaxed))) return;
        if (pthread_getaffinity_np(thread_, sizeof open_, &open_) != 0) return;
        cpu_set_t others = open_;
        CPU_CLR(here, &others);
        moved_ = CPU_COUNT(&others) > 0 && pthread_setaffinity_np(thread_, sizeof others, &others) == 0;
    }
    /// For the thread, when it has a task.
    void start() {
        core_.store(sched_getcpu(), std::memory_order_relaxed);
        if (moved_) pthread_setaffinity_np(thread_, sizeof open_, &open_);
        moved_ = false;
    }

  private:
    pthread_t thread_{};
    std::atomic<int> core_{-1};
    cpu_set_t open_{};  // where it may run
    bool moved_ = false;
#else
    template <class Handle>
    void take(Handle) {}
    void keep_away(bool) {}
    void start() {}
#endif
};

/// @brief One of the pool's threads and its next task; on cache lines of its own.
struct alignas(128) Seat {
    std::atomic<std::uint32_t> generation{0};  // rises with each task
    Task task = nullptr;
    void* context = nullptr;
    int index = 0;
    std::atomic<bool> asleep{false};
    Place place;
};

struct Pool {
    std::mutex in_use;
    std::vector<std::unique_ptr<Seat>> seats;
    alignas(128) std::atomic<int> busy{0};
};

namespace {

using Clock = std::chrono::steady_clock;

/// For a barrier: longer than the others take who are on their way to it.
constexpr std::chrono::microseconds a_moment{30};
/// For the next task: longer than Python takes between two calls. To wake a sleeper can take as long.
constexpr std::chrono::microseconds a_while{200};

inline void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/// Spins until it is done or the time is over; true if it is done.
template <class Done>
bool spin(Done done, Clock::duration time) {
    for (const auto end = Clock::now() + time;;) {
        for (int i = 0; i < 32; ++i) {
            if (done()) return true;
            pause();
        }
        if (Clock::now() >= end) return done();
    }
}

/// Spins, then lets other threads have the core: its user may be what is waited for.
template <class Done>
void spin_until(Done done) {
    if (spin(done, a_moment)) return;
    while (!done()) std::this_thread::yield();
}

/// Never freed: at the exit of the process its threads may still wait in it.
std::atomic<Pool*> current_pool{nullptr};
std::atomic<int> chosen_threads{0};

Pool* pool() {
    Pool* existing = current_pool.load(std::memory_order_acquire);
    if (existing) return existing;
    auto fresh = std::make_unique<Pool>();
    if (current_pool.compare_exchange_strong(existing, fresh.get())) {
#if !defined(_WIN32)
        // A child has none of the parent's threads, and its copy of the pool may be caught in the middle of a
        // call.
        static const int registered =
            pthread_atfork(nullptr, nullptr, [] { current_pool.store(nullptr, std::memory_order_release); });
        static_cast<void>(registered);
#endif
        return fresh.release();
    }
    return existing;
}

void serve(Pool* pool, Seat* seat) {
    for (std::uint32_t seen = 0;; ++seen) {
        const auto called = [&] { return seat->generation.load(std::memory_order_acquire) != seen; };
        if (!spin(called, a_while)) {
            seat->asleep.store(true, std::memory_order_relaxed);
            while (!called()) seat->generation.wait(seen, std::memory_order_acquire);
        }
        seat->place.start();
        seat->task(seat->context, seat->index);
        pool->busy.fetch_sub(1, std::memory_order_release);
    }
}

/// Threads the pool can lend when `wanted` are asked for; where the system refuses new ones, those there are.
int seats_for(Pool* pool, int wanted) {
    try {
        while (static_cast<int>(pool->seats.size()) < wanted) {
            auto seat = std::make_unique<Seat>();
            seat->index = static_cast<int>(pool->seats.size()) + 1;
            pool->seats.reserve(pool->seats.size() + 1);
            std::thread thread(serve, pool, seat.get());
            seat->place.take(thread.native_handle());
            thread.detach();
            pool->seats.push_back(std::move(seat));
        }
    } catch (const std::exception&) {
        return static_cast<int>(pool->seats.size());
    }
    return wanted;
}

/// The positive number in an environment variable, of a list like OMP_NUM_THREADS=4,2 the first; 0 without
/// one.
int number_in(const char* variable) {
    const char* text = std::getenv(variable);
    const long number = text ? std::strtol(text, nullptr, 10) : 0;
    return number > 0 && number < 4096 ? static_cast<int>(number) : 0;
}

int default_num_threads() {
    if (const int count = number_in("GRUS_NUM_THREADS")) return count;
    const int limit = cpu_info().threads, asked = number_in("OMP_NUM_THREADS");
    return asked && asked < limit ? asked : limit;
}

}  // namespace

void Barrier::wait() {
    const std::uint32_t phase = phase_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == count_) {
        arrived_.store(0, std::memory_order_relaxed);
        phase_.store(phase + 1, std::memory_order_release);
    } else {
        spin_until([&] { return phase_.load(std::memory_order_acquire) != phase; });
    }
}

void wait(Barrier* barrier) {
    if (barrier) barrier->wait();
}

Team::Team(int wanted) {
    if (wanted <= 1) return;
    Pool* candidate = pool();
    if (!candidate->in_use.try_lock()) return;
    size_ = 1 + seats_for(candidate, wanted - 1);
    pool_ = candidate;
}

Team::~Team() {
    if (pool_) pool_->in_use.unlock();
}

void Team::run(Task task, void* context) {
    if (size_ > 1) pool_->busy.store(size_ - 1, std::memory_order_relaxed);
    for (int i = 1; i < size_; ++i) {
        Seat& seat = *pool_->seats[i - 1];
        seat.task = task;
        seat.context = context;
        seat.place.keep_away(seat.asleep.exchange(false, std::memory_order_relaxed));
        seat.generation.fetch_add(1, std::memory_order_release);
        seat.generation.notify_one();
    }
    task(context, 0);
    if (size_ > 1) spin_until([&] { return pool_->busy.load(std::memory_order_acquire) == 0; });
}

int num_threads() {
    int count = chosen_threads.load(std::memory_order_relaxed);
    if (count == 0) {  // found out once, because control groups are read from files
        count = default_num_threads();
        int unset = 0;
        if (!chosen_threads.compare_exchange_strong(unset, count)) count = unset;
    }
    return count;
}

void set_num_threads(int count) { chosen_threads.store(count, std::memory_order_relaxed); }

}  // namespace grus
