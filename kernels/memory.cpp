#include "memory.hpp"

#include <algorithm>
#include <mutex>
#include <new>
#include <vector>

namespace grus {

namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t most_kept = 0;  // the sanitizer sees the end of a block that is of the very size
#else
constexpr std::size_t most_kept = std::size_t{128} << 20;  // bytes
#endif
constexpr std::size_t most_blocks = 32;
constexpr std::align_val_t alignment{64};

struct Piece {
    void* data;
    std::size_t bytes;
};

/// What was freed, the oldest first.
struct Kept {
    std::mutex mutex;
    std::vector<Piece> pieces;
    std::size_t bytes = 0;

    Piece take(std::size_t index) {
        const Piece piece = pieces[index];
        pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(index));
        bytes -= piece.bytes;
        return piece;
    }
};

/// Never freed: what lives longer than this file may still give memory back.
Kept& kept() {
    static Kept* const all = [] {
        auto* made = new Kept;
        made->pieces.reserve(most_blocks + 1);  // so that giving back never throws
        return made;
    }();
    return *all;
}

void free_piece(const Piece& piece) { ::operator delete(piece.data, alignment); }

/// The smallest that is large enough and not much too large; its data is null where there is none.
Piece reuse(std::size_t bytes) {
    Kept& all = kept();
    // Whoever holds the lock may be of a process that this one was forked from: nobody waits for it.
    const std::unique_lock lock(all.mutex, std::try_to_lock);
    if (!lock) return {};
    std::size_t best = all.pieces.size();
    for (std::size_t i = 0; i < all.pieces.size(); ++i) {
        const std::size_t size = all.pieces[i].bytes;
        if (size < bytes || size > bytes + bytes / 8) continue;
        if (best == all.pieces.size() || size < all.pieces[best].bytes) best = i;
    }
    return best == all.pieces.size() ? Piece{} : all.take(best);
}

}  // namespace

Block::Block(std::size_t bytes) {
    Piece piece = reuse(bytes);
    if (!piece.data) {
        piece = {::operator new(std::max<std::size_t>(bytes, 64), alignment, std::nothrow), bytes};
        if (!piece.data) {
            free_kept_memory();
            piece.data = ::operator new(std::max<std::size_t>(bytes, 64), alignment);
        }
    }
    data_ = piece.data;
    bytes_ = piece.bytes;
}

Block::~Block() {
    Kept& all = kept();
    const std::unique_lock lock(all.mutex, std::try_to_lock);
    if (!lock) {
        free_piece({data_, bytes_});
        return;
    }
    all.pieces.push_back({data_, bytes_});
    all.bytes += bytes_;
    while (all.bytes > most_kept || all.pieces.size() > most_blocks) free_piece(all.take(0));
}

std::size_t free_kept_memory() {
    Kept& all = kept();
    const std::unique_lock lock(all.mutex, std::try_to_lock);
    if (!lock) return 0;
    const std::size_t freed = all.bytes;
    while (!all.pieces.empty()) free_piece(all.take(all.pieces.size() - 1));
    return freed;
}

}  // namespace grus
