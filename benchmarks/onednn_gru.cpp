/// @file oneDNN's GRU as a library for `peers/onednn.py`: reset after the product ("linear before reset"),
/// float32, one layer, one direction, on arrays that Python owns. Timed here, so that nothing but oneDNN is.
///
/// Gates are u | r | o (our z | r | n): weights [K][3][H], biases [4][H], the fourth added inside the reset.

#include <chrono>
#include <cstring>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>

namespace {

using dnnl::memory;
using Forward = dnnl::lbr_gru_forward;
using Backward = dnnl::lbr_gru_backward;
using Arguments = std::unordered_map<int, memory>;
using Layout = memory::format_tag;

/// The shapes of a case in the layouts of its arrays; `any` leaves the layout of weights to oneDNN.
struct Shapes {
    memory::dim T, B, I, H;

    memory::desc x() const { return describe({T, B, I}, Layout::tnc); }
    memory::desc output() const { return describe({T, B, H}, Layout::tnc); }
    memory::desc state() const { return describe({1, 1, B, H}, Layout::ldnc); }
    memory::desc bias() const { return describe({1, 1, 4, H}, Layout::ldgo); }
    memory::desc weight_ih(Layout layout) const { return describe({1, 1, I, 3, H}, layout); }
    memory::desc weight_hh(Layout layout) const { return describe({1, 1, H, 3, H}, layout); }

  private:
    static memory::desc describe(memory::dims sizes, Layout layout) {
        return {std::move(sizes), memory::data_type::f32, layout};
    }
};

/// One layer: its two forward primitives, its backward one, and the memory that they read and write.
class Gru {
  public:
    Gru(const Shapes& shapes, const float* const inputs[6])
        : shapes_(shapes),
          inference_(description(dnnl::prop_kind::forward_inference)),
          training_(description(dnnl::prop_kind::forward_training)),
          backward_(description(training_)),
          x_(copied(shapes.x(), inputs[0])),
          h0_(copied(shapes.state(), inputs[1])),
          weight_ih_(copied(shapes.weight_ih(Layout::ldigo), inputs[2])),
          weight_hh_(copied(shapes.weight_hh(Layout::ldigo), inputs[3])),
          bias_(copied(shapes.bias(), inputs[4])),
          d_output_(copied(shapes.output(), inputs[5])) {
        inference_arguments_ = forward_arguments(inference_);
        training_arguments_ = forward_arguments(training_);
        training_arguments_[DNNL_ARG_WORKSPACE] = zeros(training_.workspace_desc());
        backward_arguments_ = backward_arguments();
    }

    void forward() {
        infer_.execute(stream_, inference_arguments_);
        stream_.wait();
    }

    void training() {
        train_.execute(stream_, training_arguments_);
        for (int each : {DNNL_ARG_DIFF_WEIGHTS_LAYER, DNNL_ARG_DIFF_WEIGHTS_ITER, DNNL_ARG_DIFF_BIAS}) {
            clear(backward_arguments_[each]);  // oneDNN adds to what is there
        }
        propagate_.execute(stream_, backward_arguments_);
        stream_.wait();
    }

    void results(float* const arrays[6]) {
        copy(inference_arguments_[DNNL_ARG_DST_LAYER], shapes_.output(), arrays[0]);
        copy(backward_arguments_[DNNL_ARG_DIFF_SRC_LAYER], shapes_.x(), arrays[1]);
        copy(backward_arguments_[DNNL_ARG_DIFF_SRC_ITER], shapes_.state(), arrays[2]);
        copy(backward_arguments_[DNNL_ARG_DIFF_WEIGHTS_LAYER], shapes_.weight_ih(Layout::ldigo), arrays[3]);
        copy(backward_arguments_[DNNL_ARG_DIFF_WEIGHTS_ITER], shapes_.weight_hh(Layout::ldigo), arrays[4]);
        copy(backward_arguments_[DNNL_ARG_DIFF_BIAS], shapes_.bias(), arrays[5]);
    }

  private:
    // Descriptions: which computation, in which layouts.

    Forward::primitive_desc description(dnnl::prop_kind kind) const {
        return {cpu_,
                kind,
                direction_,
                shapes_.x(),
                shapes_.state(),
                shapes_.weight_ih(Layout::any),
                shapes_.weight_hh(Layout::any),
                shapes_.bias(),
                shapes_.output(),
                shapes_.state()};
    }

    Backward::primitive_desc description(const Forward::primitive_desc& hint) const {
        const auto weight_ih = shapes_.weight_ih(Layout::any), weight_hh = shapes_.weight_hh(Layout::any);
        const auto x = shapes_.x(), state = shapes_.state(), bias = shapes_.bias(), output = shapes_.output();
        return {cpu_,       dnnl::prop_kind::backward,
                direction_, x,
                state,      weight_ih,
                weight_hh,  bias,
                output,     state,
                x,          state,
                weight_ih,  weight_hh,
                bias,       output,
                state,      hint};
    }

    // Arguments: which memory.

    template <class Description>
    Arguments forward_arguments(const Description& of) {
        return {{DNNL_ARG_SRC_LAYER, x_},
                {DNNL_ARG_SRC_ITER, h0_},
                {DNNL_ARG_WEIGHTS_LAYER, reordered(weight_ih_, of.weights_layer_desc())},
                {DNNL_ARG_WEIGHTS_ITER, reordered(weight_hh_, of.weights_iter_desc())},
                {DNNL_ARG_BIAS, bias_},
                {DNNL_ARG_DST_LAYER, zeros(shapes_.output())},
                {DNNL_ARG_DST_ITER, zeros(shapes_.state())}};
    }

    Arguments backward_arguments() {
        Arguments all = forward_arguments(backward_);
        for (int each : {DNNL_ARG_DST_LAYER, DNNL_ARG_DST_ITER, DNNL_ARG_WORKSPACE}) {
            all[each] = training_arguments_[each];
        }
        all[DNNL_ARG_DIFF_DST_LAYER] = d_output_;
        all[DNNL_ARG_DIFF_DST_ITER] = zeros(shapes_.state());
        all[DNNL_ARG_DIFF_SRC_LAYER] = zeros(shapes_.x());
        all[DNNL_ARG_DIFF_SRC_ITER] = zeros(shapes_.state());
        all[DNNL_ARG_DIFF_WEIGHTS_LAYER] = zeros(backward_.diff_weights_layer_desc());
        all[DNNL_ARG_DIFF_WEIGHTS_ITER] = zeros(backward_.diff_weights_iter_desc());
        all[DNNL_ARG_DIFF_BIAS] = zeros(shapes_.bias());
        return all;
    }

    // Memory.

    static void clear(memory& of) { std::memset(of.get_data_handle(), 0, of.get_desc().get_size()); }

    memory zeros(const memory::desc& like) const {
        memory made(like, cpu_);
        clear(made);
        return made;
    }

    memory copied(const memory::desc& like, const float* numbers) const {
        memory made(like, cpu_);
        std::memcpy(made.get_data_handle(), numbers, like.get_size());
        return made;
    }

    memory reordered(memory from, const memory::desc& like) {
        memory made(like, cpu_);
        dnnl::reorder(from, made).execute(stream_, from, made);
        stream_.wait();
        return made;
    }

    void copy(const memory& from, const memory::desc& like, float* to) {
        std::memcpy(to, reordered(from, like).get_data_handle(), like.get_size());
    }

    static constexpr auto direction_ = dnnl::rnn_direction::unidirectional_left2right;
    Shapes shapes_;
    dnnl::engine cpu_{dnnl::engine::kind::cpu, 0};
    dnnl::stream stream_{cpu_};
    Forward::primitive_desc inference_, training_;
    Backward::primitive_desc backward_;
    Forward infer_{inference_}, train_{training_};
    Backward propagate_{backward_};
    memory x_, h0_, weight_ih_, weight_hh_, bias_, d_output_;
    Arguments inference_arguments_, training_arguments_, backward_arguments_;
};

template <class Pass>
double seconds(int calls, Pass pass) {
    const auto start = std::chrono::steady_clock::now();
    for (int call = 0; call < calls; ++call) pass();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

extern "C" {

/// @param x [T][B][I]  @param h0 [B][H]  @param weight_ih [I][3][H]  @param weight_hh [H][3][H]
/// @param bias [4][H]  @param d_output [T][B][H]
void* gru_new(int T, int B, int I, int H, const float* x, const float* h0, const float* weight_ih,
              const float* weight_hh, const float* bias, const float* d_output) {
    const float* const inputs[] = {x, h0, weight_ih, weight_hh, bias, d_output};
    return new Gru({T, B, I, H}, inputs);
}

void gru_delete(void* gru) { delete static_cast<Gru*>(gru); }

/// @return the seconds that so many calls took
double gru_forward(void* gru, int calls) {
    return seconds(calls, [=] { static_cast<Gru*>(gru)->forward(); });
}

double gru_training(void* gru, int calls) {
    return seconds(calls, [=] { static_cast<Gru*>(gru)->training(); });
}

/// What the last calls computed, in the layouts of `gru_new`.
void gru_results(void* gru, float* output, float* dx, float* dh0, float* dweight_ih, float* dweight_hh,
                 float* dbias) {
    float* const arrays[] = {output, dx, dh0, dweight_ih, dweight_hh, dbias};
    static_cast<Gru*>(gru)->results(arrays);
}

}  // extern "C"
