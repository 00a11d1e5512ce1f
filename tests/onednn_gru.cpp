/// @file oneDNN's two GRUs as one function, for tests/test_convert_onednn.py: any layers and directions of a
/// primitive, float32, forward, on arrays that Python owns.

#include <cstring>
#include <exception>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>

namespace {

using dnnl::memory;
using Tag = memory::format_tag;

const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);

memory::desc described(memory::dims sizes, Tag tag) {
    return {std::move(sizes), memory::data_type::f32, tag};
}

memory copied(const memory::desc& like, const float* numbers) {
    memory made(like, cpu);
    std::memcpy(made.get_data_handle(), numbers, like.get_size());
    return made;
}

memory reordered(memory from, const memory::desc& like, dnnl::stream& stream) {
    memory made(like, cpu);
    dnnl::reorder(from, made).execute(stream, from, made);
    stream.wait();
    return made;
}

struct Arrays {
    const float *x, *h0, *weights_layer, *weights_iter, *bias;  ///< bias may be null
    float *output, *h_n;
};

/// @tparam Gru dnnl::gru_forward or dnnl::lbr_gru_forward
template <class Gru>
void run(memory::dim T, memory::dim B, memory::dim I, memory::dim H, memory::dim L, memory::dim D,
         memory::dim rows, const Arrays& of) {
    dnnl::stream stream(cpu);
    const auto x = described({T, B, I}, Tag::tnc), states = described({L, D, B, H}, Tag::ldnc);
    const auto output = described({T, B, D * H}, Tag::tnc);
    const memory::dims layer{L, D, I, 3, H}, iter{L, D, H, 3, H};
    const auto bias = of.bias ? described({L, D, rows, H}, Tag::ldgo) : memory::desc();
    const auto direction =
        D == 2 ? dnnl::rnn_direction::bidirectional_concat : dnnl::rnn_direction::unidirectional_left2right;
    const typename Gru::primitive_desc made(cpu, dnnl::prop_kind::forward_inference, direction, x, states,
                                            described(layer, Tag::any), described(iter, Tag::any), bias,
                                            output, states);
    memory to(output, cpu), last(states, cpu);
    std::unordered_map<int, memory> arguments{
        {DNNL_ARG_SRC_LAYER, copied(x, of.x)},
        {DNNL_ARG_SRC_ITER, copied(states, of.h0)},
        {DNNL_ARG_WEIGHTS_LAYER, reordered(copied(described(layer, Tag::ldigo), of.weights_layer),
                                           made.weights_layer_desc(), stream)},
        {DNNL_ARG_WEIGHTS_ITER,
         reordered(copied(described(iter, Tag::ldigo), of.weights_iter), made.weights_iter_desc(), stream)},
        {DNNL_ARG_DST_LAYER, to},
        {DNNL_ARG_DST_ITER, last}};
    if (of.bias) arguments.insert({DNNL_ARG_BIAS, copied(bias, of.bias)});
    Gru(made).execute(stream, arguments);
    stream.wait();
    std::memcpy(of.output, to.get_data_handle(), output.get_size());
    std::memcpy(of.h_n, last.get_data_handle(), states.get_size());
}

}  // namespace

/// @param after whether the reset is (`lbr_gru`) or not (`gru`)
/// @param x [T][B][I]  @param h0 [L][D][B][H]  @param weights_layer [L][D][I][3][H]
/// @param weights_iter [L][D][H][3][H]  @param bias [L][D][4 or 3][H], or null
/// @param output [T][B][D * H]  @param h_n [L][D][B][H]
/// @return null, or what oneDNN refused it with
extern "C" const char* gru(int after, int T, int B, int I, int H, int L, int D, const float* x,
                           const float* h0, const float* weights_layer, const float* weights_iter,
                           const float* bias, float* output, float* h_n) {
    static thread_local char said[200];
    const Arrays of{x, h0, weights_layer, weights_iter, bias, output, h_n};
    try {
        if (after) {
            run<dnnl::lbr_gru_forward>(T, B, I, H, L, D, 4, of);
        } else {
            run<dnnl::gru_forward>(T, B, I, H, L, D, 3, of);
        }
        return nullptr;
    } catch (const std::exception& error) {
        std::strncpy(said, error.what(), sizeof said - 1);
        return said;
    }
}
