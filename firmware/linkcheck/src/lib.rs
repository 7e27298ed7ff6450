//! Every public operation as an exported function, for `../linkcheck.sh`.
//!
//! The panic handler calls a function that does not exist, so an operation links only if no path
//! in it leads to a panic. All arguments come through [`Arguments`]: the compiler cannot know a
//! length, so no check can vanish for a reason that would not hold in a user's program.

#![no_std]

use core::panic::PanicInfo;

use core::num::NonZero;
use evenkeel::philox::philox4x32;
use evenkeel::stream::{self, Decider, Mask, Stream, StreamDropout, Threshold};
use evenkeel::{
    Activation, Affine, AlphaDropout, Backend, BatchNorm, Constant, DropConnect, Dropout, Error,
    FeatureAlphaDropout, FeatureDropout, Fill, GaussianDropout, Given, Gradients, GroupNorm, Init,
    InstanceNorm, Keep, Key, LayerNorm, Layout, Moments, Momentum, Philox, RmsNorm, Rows, Running,
    RunningVariance, Saved, Scaling, Selu, SeluAlphaDropout, Standardize, Statistics, Weight,
    WeightGradients, Weights, apart, in_place,
};
use rand_core::{Rng, SeedableRng};

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        /// Defined nowhere.
        fn evenkeel_can_panic() -> !;
    }
    // SAFETY: never called, since nothing that contains the call links.
    unsafe { evenkeel_can_panic() }
}

/// Whatever an operation may be called with.
pub struct Arguments<'a> {
    x: &'a [f32],
    dy: &'a [f32],
    wide: &'a [f64],
    gamma: Option<&'a [f32]>,
    beta: Option<&'a [f32]>,
    mean: &'a [f32],
    var: &'a [f32],
    running: Option<(&'a mut [f32], &'a mut [f32])>,
    saved: Option<(&'a mut [f32], &'a mut [f32])>,
    gradients: [Option<&'a mut [f32]>; 3],
    moments: &'a mut [Moments],
    one: Moments,
    y: &'a mut [f32],
    residual: &'a mut [f32],
    bias: &'a mut [f32],
    bytes: &'a mut [u8],
    layout: Layout,
    sizes: [usize; 3],
    batch_norm: BatchNorm,
    group_norm: GroupNorm,
    instance_norm: InstanceNorm,
    rows: Rows,
    layer_norm: LayerNorm,
    rms_norm: RmsNorm,
    standardize: Standardize,
    selu: Selu,
    activation: Activation,
    dropout: Dropout,
    alpha_dropout: AlphaDropout,
    feature_dropout: FeatureDropout,
    feature_alpha_dropout: FeatureAlphaDropout,
    gaussian_dropout: GaussianDropout,
    selu_alpha_dropout: SeluAlphaDropout,
    stream_dropout: StreamDropout,
    fill: Fill,
    init: Init,
    plain: &'a mut [u32],
    drop_connect: DropConnect,
    scaling: Scaling,
    momentum: Momentum,
    running_variance: RunningVariance,
    number: f64,
    key: Key,
    philox: Philox,
    position: u128,
    index: u64,
    words: [u32; 4],
    wide_words: [u64; 4],
    stream: Stream,
    decider: Decider,
    mask: Mask,
    threshold: Threshold,
    blocks: NonZero<u32>,
    nonzero: NonZero<i64>,
}

/// Splits the borrows that a call needs out of the arguments.
macro_rules! saved {
    ($a:ident) => {
        $a.saved.as_mut().map(|(mean, rstd)| Saved { mean, rstd })
    };
}

macro_rules! keep {
    ($a:ident) => {
        Keep {
            running: $a.running.as_mut().map(|(mean, var)| Running { mean, var }),
            saved: saved!($a),
        }
    };
}

macro_rules! affine {
    ($a:ident) => {
        Affine { gamma: $a.gamma, beta: $a.beta }
    };
}

macro_rules! running {
    ($a:ident) => {
        Given::Running { mean: $a.mean, var: $a.var }
    };
}

/// Adds every decoration to the input and output of a call.
macro_rules! decorated {
    ($a:ident, $io:expr) => {
        $io.add($a.residual).then($a.activation).drop(&$a.dropout, $a.key)
    };
}

macro_rules! gradients {
    ($a:ident) => {{
        let [x, gamma, beta] = $a.gradients.each_mut().map(Option::as_deref_mut);
        Gradients { x, gamma, beta }
    }};
}

macro_rules! weights {
    ($a:ident) => {
        Weights { matrix: $a.mean, bias: $a.beta }
    };
}

/// One exported function for each line. `linkcheck.sh` takes the names from the library.
macro_rules! exports {
    ($($name:ident($a:ident) -> $result:ty { $($body:tt)* })*) => {
        $(
            #[unsafe(no_mangle)]
            pub fn $name($a: &mut Arguments<'_>) -> $result {
                $($body)*
            }
        )*
    };
}

type Status = Result<(), Error>;

exports! {
    check_layout_channels_first(a) -> Result<Layout, Error> {
        Layout::channels_first(a.sizes[0], a.sizes[1], a.sizes[2])
    }
    check_layout_channels_last(a) -> Result<Layout, Error> {
        Layout::channels_last(a.sizes[0], a.sizes[1], a.sizes[2])
    }
    check_layout_dense(a) -> Result<Layout, Error> {
        Layout::dense(a.sizes[0], a.sizes[1])
    }
    check_layout_sizes(a) -> usize {
        let l = a.layout;
        l.batch() ^ l.channels() ^ l.spatial() ^ l.len() ^ usize::from(l.is_empty())
            ^ usize::from(l.is_channels_last())
    }

    check_backend(a) -> usize {
        let names = Backend::available().map(|backend| backend.name().len());
        a.batch_norm = a.batch_norm.backend(Backend::detect());
        names.fold(0, usize::wrapping_add)
    }

    check_moments_of(a) -> Moments { Moments::of(a.x) }
    check_moments_push(a) -> () { a.one.push(a.number) }
    check_moments_merge(a) -> () { a.moments.iter().for_each(|m| a.one.merge(m)) }
    check_moments_derived(a) -> [f64; 4] {
        let m = a.one;
        [m.variance(), m.sample_variance(), m.std_dev(), m.sample_std_dev()]
    }
    check_moments_from_iterator(a) -> (Moments, Moments) {
        (a.x.iter().copied().collect(), a.wide.iter().collect())
    }
    check_moments_extend(a) -> () {
        a.one.extend(a.x);
        a.one.extend(a.wide.iter().copied());
    }

    check_batch_norm_options(a) -> BatchNorm {
        BatchNorm::new(a.layout).eps(a.number).momentum(a.momentum)
            .running_variance(a.running_variance)
    }
    check_batch_norm_train(a) -> Status {
        a.batch_norm.train(apart(a.x, a.y), affine!(a), keep!(a))
    }
    check_batch_norm_train_in_place(a) -> Status {
        a.batch_norm.train(in_place(a.y), affine!(a), keep!(a))
    }
    check_batch_norm_train_decorated(a) -> Status {
        a.batch_norm.train(decorated!(a, apart(a.x, a.y)), affine!(a), keep!(a))
    }
    check_batch_norm_train_in_place_decorated(a) -> Status {
        a.batch_norm.train(decorated!(a, in_place(a.y)), affine!(a), keep!(a))
    }
    check_batch_norm_infer(a) -> Status {
        a.batch_norm.infer(apart(a.x, a.y), affine!(a), running!(a))
    }
    check_batch_norm_infer_in_place(a) -> Status {
        a.batch_norm.infer(in_place(a.y), affine!(a), running!(a))
    }
    check_batch_norm_infer_decorated(a) -> Status {
        a.batch_norm.infer(decorated!(a, apart(a.x, a.y)), affine!(a), running!(a))
    }
    check_batch_norm_infer_in_place_decorated(a) -> Status {
        a.batch_norm.infer(decorated!(a, in_place(a.y)), affine!(a), running!(a))
    }
    check_batch_norm_collect(a) -> Status { a.batch_norm.collect(a.x, a.moments) }
    check_batch_norm_infer_population(a) -> Status {
        a.batch_norm.infer(apart(a.x, a.y), affine!(a), Given::Population(a.moments))
    }
    check_batch_norm_infer_population_in_place(a) -> Status {
        a.batch_norm.infer(in_place(a.y), affine!(a), Given::Population(a.moments))
    }
    check_batch_norm_infer_population_decorated(a) -> Status {
        let given = Given::Population(a.moments);
        a.batch_norm.infer(decorated!(a, apart(a.x, a.y)), affine!(a), given)
    }
    check_batch_norm_infer_population_in_place_decorated(a) -> Status {
        let given = Given::Population(a.moments);
        a.batch_norm.infer(decorated!(a, in_place(a.y)), affine!(a), given)
    }
    check_batch_norm_backward(a) -> Status {
        let statistics = Statistics { mean: a.mean, rstd: a.var };
        a.batch_norm.backward(a.dy, a.x, a.gamma, statistics, gradients!(a))
    }
    check_batch_norm_backward_inference(a) -> Status {
        a.batch_norm.backward(a.dy, a.x, a.gamma, running!(a), gradients!(a))
    }
    check_batch_norm_backward_population(a) -> Status {
        let given = Given::Population(a.moments);
        a.batch_norm.backward(a.dy, a.x, a.gamma, given, gradients!(a))
    }
    check_batch_norm_fold(a) -> Status {
        a.batch_norm.fold(affine!(a), running!(a), Weight::OutputFirst(a.y), a.bias)
    }
    check_batch_norm_fold_transposed(a) -> Status {
        let [groups, kernel, _] = a.sizes;
        let weight = Weight::Transposed { weight: a.y, groups, kernel };
        a.batch_norm.fold(affine!(a), running!(a), weight, a.bias)
    }
    check_batch_norm_fold_population(a) -> Status {
        let given = Given::Population(a.moments);
        a.batch_norm.fold(affine!(a), given, Weight::OutputFirst(a.y), a.bias)
    }
    check_batch_norm_fold_transposed_population(a) -> Status {
        let [groups, kernel, _] = a.sizes;
        let weight = Weight::Transposed { weight: a.y, groups, kernel };
        a.batch_norm.fold(affine!(a), Given::Population(a.moments), weight, a.bias)
    }

    check_group_norm_options(a) -> GroupNorm {
        GroupNorm::new(a.layout, a.sizes[0]).eps(a.number)
    }
    check_group_norm_forward(a) -> Status {
        a.group_norm.forward(apart(a.x, a.y), affine!(a), saved!(a))
    }
    check_group_norm_forward_in_place(a) -> Status {
        a.group_norm.forward(in_place(a.y), affine!(a), saved!(a))
    }
    check_group_norm_forward_decorated(a) -> Status {
        a.group_norm.forward(decorated!(a, apart(a.x, a.y)), affine!(a), saved!(a))
    }
    check_group_norm_forward_in_place_decorated(a) -> Status {
        a.group_norm.forward(decorated!(a, in_place(a.y)), affine!(a), saved!(a))
    }

    check_group_norm_backward(a) -> Status {
        let statistics = Statistics { mean: a.mean, rstd: a.var };
        a.group_norm.backward(a.dy, a.x, a.gamma, statistics, gradients!(a))
    }

    check_instance_norm_options(a) -> InstanceNorm {
        InstanceNorm::new(a.layout).eps(a.number).momentum(a.momentum)
            .running_variance(a.running_variance)
    }
    check_instance_norm_forward(a) -> Status {
        a.instance_norm.forward(apart(a.x, a.y), affine!(a), keep!(a))
    }
    check_instance_norm_forward_in_place_decorated(a) -> Status {
        a.instance_norm.forward(decorated!(a, in_place(a.y)), affine!(a), keep!(a))
    }
    check_instance_norm_infer(a) -> Status {
        a.instance_norm.infer(apart(a.x, a.y), affine!(a), running!(a))
    }
    check_instance_norm_backward(a) -> Status {
        let statistics = Statistics { mean: a.mean, rstd: a.var };
        a.instance_norm.backward(a.dy, a.x, a.gamma, statistics, gradients!(a))
    }
    check_instance_norm_backward_inference(a) -> Status {
        a.instance_norm.backward(a.dy, a.x, a.gamma, running!(a), gradients!(a))
    }

    check_rows(a) -> Result<Rows, Error> {
        Rows::new(a.sizes[0], a.sizes[1])?.stride(a.sizes[2])
    }
    check_rows_sizes(a) -> usize { a.rows.count() ^ a.rows.row_len() ^ a.rows.elements() }

    check_layer_norm_options(a) -> LayerNorm { LayerNorm::new(a.rows).eps(a.number) }
    check_layer_norm_forward(a) -> Status {
        a.layer_norm.forward(apart(a.x, a.y), affine!(a), saved!(a))
    }
    check_layer_norm_forward_in_place_decorated(a) -> Status {
        a.layer_norm.forward(decorated!(a, in_place(a.y)), affine!(a), saved!(a))
    }
    check_layer_norm_backward(a) -> Status {
        let statistics = Statistics { mean: a.mean, rstd: a.var };
        a.layer_norm.backward(a.dy, a.x, a.gamma, statistics, gradients!(a))
    }

    check_rms_norm_options(a) -> RmsNorm { RmsNorm::new(a.rows).eps(a.number) }
    check_rms_norm_forward(a) -> Status {
        a.rms_norm.forward(apart(a.x, a.y), a.gamma, Some(&mut *a.bias))
    }
    check_rms_norm_forward_in_place_decorated(a) -> Status {
        a.rms_norm.forward(decorated!(a, in_place(a.y)), a.gamma, None)
    }
    check_rms_norm_backward(a) -> Status {
        a.rms_norm.backward(a.dy, a.x, a.gamma, a.var, gradients!(a))
    }

    check_standardize_options(a) -> Standardize {
        Standardize::new(a.layout).eps(a.number).constant(Constant::Center)
    }
    check_standardize_fit(a) -> Status { a.standardize.fit(a.x, a.moments) }
    check_standardize_apply(a) -> Status { a.standardize.apply(apart(a.x, a.y), a.moments) }
    check_standardize_apply_in_place(a) -> Status {
        a.standardize.apply(in_place(a.y), a.moments)
    }
    check_standardize_apply_decorated(a) -> Status {
        a.standardize.apply(decorated!(a, apart(a.x, a.y)), a.moments)
    }
    check_standardize_apply_in_place_decorated(a) -> Status {
        a.standardize.apply(decorated!(a, in_place(a.y)), a.moments)
    }

    check_selu_new(a) -> Selu {
        a.selu = Selu::new();
        a.selu
    }
    check_selu_forward(a) -> Status { a.selu.forward(apart(a.x, a.y)) }
    check_selu_forward_in_place(a) -> Status { a.selu.forward(in_place(a.y)) }
    check_selu_backward(a) -> Status { a.selu.backward(apart(a.dy, a.y), a.x) }
    check_selu_backward_in_place(a) -> Status { a.selu.backward(in_place(a.y), a.x) }
    check_selu_forward_decorated(a) -> Status { a.selu.forward(decorated!(a, apart(a.x, a.y))) }
    check_selu_forward_in_place_decorated(a) -> Status {
        a.selu.forward(decorated!(a, in_place(a.y)))
    }
    check_selu_backward_decorated(a) -> Status {
        a.selu.backward(decorated!(a, apart(a.dy, a.y)), a.x)
    }
    check_selu_backward_in_place_decorated(a) -> Status {
        a.selu.backward(decorated!(a, in_place(a.y)), a.x)
    }

    check_key(a) -> (u64, u64) { (a.key.seed(), a.key.stream()) }
    check_key_new(a) -> Key { Key::new(a.index) }
    check_key_with_stream(a) -> Result<Key, Error> { Key::with_stream(a.index, a.index) }
    check_key_fold_in(a) -> Key { a.key.fold_in(a.index) }
    check_key_from_rng(a) -> Key { Key::from_rng(&mut a.philox) }

    check_philox_block(a) -> [u32; 4] {
        let [k0, k1, _, _] = a.words;
        philox4x32(a.words, [k0, k1])
    }
    check_philox_new(a) -> Philox { Philox::new(a.key) }
    check_philox_from_seed(a) -> Philox { Philox::from_seed(a.index.to_le_bytes()) }
    check_philox_seed_from_u64(a) -> Philox { Philox::seed_from_u64(a.index) }
    check_philox_words(a) -> u64 { u64::from(a.philox.next_u32()) ^ a.philox.next_u64() }
    check_philox_bytes(a) -> () { a.philox.fill_bytes(a.bytes) }
    check_philox_seek(a) -> u128 {
        a.philox.set_word_pos(a.position);
        a.philox.get_word_pos()
    }
    check_philox_stream(a) -> Result<u64, Error> {
        a.philox.set_stream(a.index)?;
        Ok(a.philox.get_stream() ^ a.philox.key().seed())
    }

    check_dropout_new(a) -> Result<Dropout, Error> { Dropout::new(a.number) }
    check_dropout_options(a) -> (f64, f32) {
        a.dropout = a.dropout.scaling(a.scaling).offset(a.index);
        (a.dropout.p(), a.dropout.scale())
    }
    check_dropout_forward(a) -> Status { a.dropout.forward(apart(a.x, a.y), a.key) }
    check_dropout_forward_in_place(a) -> Status { a.dropout.forward(in_place(a.y), a.key) }
    check_dropout_backward(a) -> Status { a.dropout.backward(apart(a.dy, a.y), a.key) }
    check_dropout_backward_in_place(a) -> Status { a.dropout.backward(in_place(a.y), a.key) }
    check_dropout_infer(a) -> Status { a.dropout.infer(apart(a.x, a.y)) }
    check_dropout_infer_in_place(a) -> Status { a.dropout.infer(in_place(a.y)) }
    check_dropout_forward_decorated(a) -> Status {
        a.dropout.forward(decorated!(a, apart(a.x, a.y)), a.key)
    }
    check_dropout_forward_in_place_decorated(a) -> Status {
        a.dropout.forward(decorated!(a, in_place(a.y)), a.key)
    }
    check_dropout_backward_decorated(a) -> Status {
        a.dropout.backward(decorated!(a, apart(a.dy, a.y)), a.key)
    }
    check_dropout_backward_in_place_decorated(a) -> Status {
        a.dropout.backward(decorated!(a, in_place(a.y)), a.key)
    }
    check_dropout_infer_decorated(a) -> Status {
        a.dropout.infer(decorated!(a, apart(a.x, a.y)))
    }
    check_dropout_infer_in_place_decorated(a) -> Status {
        a.dropout.infer(decorated!(a, in_place(a.y)))
    }
    check_dropout_keep(a) -> bool { a.dropout.keep(a.key, a.index) }
    check_dropout_write_mask(a) -> Status {
        a.dropout.write_mask(a.sizes[0], a.key, a.bytes)
    }

    check_alpha_dropout_new(a) -> Result<AlphaDropout, Error> { AlphaDropout::new(a.number) }
    check_alpha_dropout_options(a) -> (f64, f32) {
        a.alpha_dropout = a.alpha_dropout.offset(a.index);
        (a.alpha_dropout.p(), a.alpha_dropout.scale() + a.alpha_dropout.shift() + a.alpha_dropout.dropped())
    }
    check_alpha_dropout_forward(a) -> Status { a.alpha_dropout.forward(apart(a.x, a.y), a.key) }
    check_alpha_dropout_forward_in_place(a) -> Status { a.alpha_dropout.forward(in_place(a.y), a.key) }
    check_alpha_dropout_forward_decorated(a) -> Status {
        a.alpha_dropout.forward(decorated!(a, apart(a.x, a.y)), a.key)
    }
    check_alpha_dropout_backward(a) -> Status { a.alpha_dropout.backward(apart(a.dy, a.y), a.key) }
    check_alpha_dropout_backward_in_place(a) -> Status { a.alpha_dropout.backward(in_place(a.y), a.key) }
    check_alpha_dropout_keep(a) -> bool { a.alpha_dropout.keep(a.key, a.index) }

    check_feature_dropout_new(a) -> Result<FeatureDropout, Error> { FeatureDropout::new(a.layout, a.number) }
    check_feature_dropout_options(a) -> (f64, f32) {
        a.feature_dropout = a.feature_dropout.offset(a.index);
        (a.feature_dropout.p(), a.feature_dropout.scale())
    }
    check_feature_dropout_forward(a) -> Status { a.feature_dropout.forward(apart(a.x, a.y), a.key) }
    check_feature_dropout_forward_in_place(a) -> Status { a.feature_dropout.forward(in_place(a.y), a.key) }
    check_feature_dropout_forward_decorated(a) -> Status {
        a.feature_dropout.forward(decorated!(a, apart(a.x, a.y)), a.key)
    }
    check_feature_dropout_backward(a) -> Status { a.feature_dropout.backward(apart(a.dy, a.y), a.key) }
    check_feature_dropout_backward_in_place(a) -> Status { a.feature_dropout.backward(in_place(a.y), a.key) }
    check_feature_dropout_keep(a) -> bool { a.feature_dropout.keep(a.key, a.index) }

    check_feature_alpha_dropout_new(a) -> Result<FeatureAlphaDropout, Error> { FeatureAlphaDropout::new(a.layout, a.number) }
    check_feature_alpha_dropout_options(a) -> (f64, f32) {
        a.feature_alpha_dropout = a.feature_alpha_dropout.offset(a.index);
        (a.feature_alpha_dropout.p(), a.feature_alpha_dropout.scale() + a.feature_alpha_dropout.shift() + a.feature_alpha_dropout.dropped())
    }
    check_feature_alpha_dropout_forward(a) -> Status { a.feature_alpha_dropout.forward(apart(a.x, a.y), a.key) }
    check_feature_alpha_dropout_forward_in_place(a) -> Status { a.feature_alpha_dropout.forward(in_place(a.y), a.key) }
    check_feature_alpha_dropout_forward_decorated(a) -> Status {
        a.feature_alpha_dropout.forward(decorated!(a, apart(a.x, a.y)), a.key)
    }
    check_feature_alpha_dropout_backward(a) -> Status { a.feature_alpha_dropout.backward(apart(a.dy, a.y), a.key) }
    check_feature_alpha_dropout_backward_in_place(a) -> Status { a.feature_alpha_dropout.backward(in_place(a.y), a.key) }
    check_feature_alpha_dropout_keep(a) -> bool { a.feature_alpha_dropout.keep(a.key, a.index) }

    check_gaussian_dropout_new(a) -> Result<GaussianDropout, Error> {
        GaussianDropout::new(a.number)
    }
    check_gaussian_dropout_options(a) -> (f64, f32) {
        a.gaussian_dropout = a.gaussian_dropout.offset(a.index);
        (a.gaussian_dropout.p(), a.gaussian_dropout.deviation())
    }
    check_gaussian_dropout_forward(a) -> Status {
        a.gaussian_dropout.forward(apart(a.x, a.y), a.key)
    }
    check_gaussian_dropout_forward_in_place(a) -> Status {
        a.gaussian_dropout.forward(in_place(a.y), a.key)
    }
    check_gaussian_dropout_forward_decorated(a) -> Status {
        a.gaussian_dropout.forward(decorated!(a, apart(a.x, a.y)), a.key)
    }
    check_gaussian_dropout_backward(a) -> Status {
        a.gaussian_dropout.backward(apart(a.dy, a.y), a.key)
    }
    check_selu_alpha_dropout_new(a) -> Result<SeluAlphaDropout, Error> {
        SeluAlphaDropout::new(a.number)
    }
    check_selu_alpha_dropout_options(a) -> f64 {
        a.selu_alpha_dropout = a.selu_alpha_dropout.offset(a.index);
        a.selu_alpha_dropout.p()
    }
    check_selu_alpha_dropout_forward(a) -> Status {
        a.selu_alpha_dropout.forward(apart(a.x, a.y), a.key)
    }
    check_selu_alpha_dropout_forward_in_place(a) -> Status {
        a.selu_alpha_dropout.forward(in_place(a.y), a.key)
    }
    check_selu_alpha_dropout_forward_decorated(a) -> Status {
        a.selu_alpha_dropout.forward(decorated!(a, apart(a.x, a.y)), a.key)
    }
    check_selu_alpha_dropout_backward(a) -> Status {
        a.selu_alpha_dropout.backward(apart(a.dy, a.y), a.x, a.key)
    }
    check_selu_alpha_dropout_backward_in_place(a) -> Status {
        a.selu_alpha_dropout.backward(in_place(a.y), a.x, a.key)
    }
    check_stream_dropout_new(a) -> Result<StreamDropout, Error> { a.dropout.stream(a.stream) }
    check_stream_dropout_options(a) -> (Stream, f32) {
        a.stream_dropout = a.stream_dropout.offset(a.index);
        (a.stream_dropout.stream(), a.stream_dropout.scale().apply(1.0))
    }
    check_stream_dropout_forward(a) -> Status {
        a.stream_dropout.forward(apart(a.x, a.y), a.key)
    }
    check_stream_dropout_forward_in_place(a) -> Status {
        a.stream_dropout.forward(in_place(a.y), a.key)
    }
    check_stream_dropout_backward(a) -> Status {
        a.stream_dropout.backward(apart(a.dy, a.y), a.key)
    }
    check_stream_dropout_keep(a) -> Result<bool, Error> { a.stream_dropout.keep(a.key, a.index) }
    check_stream_dropout_write_mask(a) -> Status {
        a.stream_dropout.write_mask(a.sizes[0], a.key, a.bytes)
    }
    check_fill_new(a) -> Fill { Fill::new(a.key).offset(a.index) }
    check_fill_words(a) -> Status { a.fill.words(a.plain) }
    check_fill_uniform(a) -> Status { a.fill.uniform(a.y, a.number as f32, 1.0) }
    check_fill_normal(a) -> Status { a.fill.normal(a.y, a.number as f32, a.number as f32) }
    check_init(a) -> Status { a.init.fill(a.y, a.fill) }

    check_stream_decider(a) -> Result<Decider, Error> { a.stream.decider(a.number) }
    check_stream_check(a) -> Status { a.stream.check(a.index) }
    check_stream_keep(a) -> bool { a.decider.keep(a.key, a.index) }
    check_stream_scale(a) -> f32 { a.decider.scale().apply(a.x.len() as f32) }
    check_stream_with(a) -> Mask { a.decider.with(a.key) }
    check_stream_mask(a) -> Result<bool, Error> { a.mask.keep(a.index) }
    check_stream_threshold(a) -> (bool, Option<Threshold>) {
        (a.threshold.keeps(a.words[0]), a.decider.threshold())
    }
    check_stream_triton(a) -> ([u32; 4], [f32; 4]) {
        let triton = stream::Triton::new(a.index.cast_signed());
        (triton.words(a.index), triton.uniforms(a.index))
    }
    check_stream_jax(a) -> (u32, f32, stream::Jax, stream::Jax) {
        let jax = stream::Jax::with_x64(a.index.cast_signed());
        let children = (jax.split(a.index), jax.fold_in(a.words[0]));
        (jax.word(a.index), jax.uniform(a.index), children.0, children.1)
    }
    check_stream_jax_original(a) -> Result<(u32, f32, stream::Jax), Error> {
        let key = stream::Jax::new(a.index.cast_signed());
        let original = stream::JaxOriginal::new(key, a.position as u64)?;
        let child = stream::JaxOriginal::split(key, a.index, a.position as u64)?;
        Ok((original.word(a.index)?, original.uniform(a.index)?, child))
    }
    check_stream_tensorflow(a) -> (u32, f32) {
        let tensorflow = stream::TensorFlow::new([a.index.cast_signed(), a.nonzero.get()]);
        (tensorflow.word(a.index), tensorflow.uniform(a.index))
    }
    check_stream_onednn(a) -> [u32; 2] {
        let [seed, index, ..] = a.words;
        let offset = stream::OneDnnOffset::new(a.index.cast_signed(), a.nonzero);
        [stream::OneDnn::new(seed.cast_signed()).word(index), offset.word(a.index)]
    }
    check_stream_pytorch_cuda(a) -> Result<(u32, f32), Error> {
        let [seed, len, offset, _] = a.wide_words;
        let pytorch = stream::PyTorchCuda::new(seed, len, offset, a.blocks);
        Ok((pytorch.word(a.index)?, pytorch.uniform(a.index)?))
    }
    check_stream_curand(a) -> (u32, f32, u32) {
        let [seed, subsequence, offset, _] = a.wide_words;
        let device = stream::CurandDevice::new(seed, subsequence, offset);
        let host = stream::CurandHost::new(seed);
        (device.word(a.index), device.uniform(a.index), host.word(a.index))
    }
    check_stream_numpy(a) -> (u64, f64, f32) {
        let numpy = stream::NumPy::new([a.index, a.index], a.wide_words);
        (numpy.word(a.index), numpy.uniform(a.index), numpy.half_uniform(a.index))
    }
    check_stream_cpp(a) -> (u32, u64) {
        let four = stream::StdPhilox4x32::new(a.words[0]).word(a.index);
        (four, stream::StdPhilox4x64::new(a.index).word(a.index))
    }
    check_stream_philox(a) -> ([u32; 2], [u32; 4], [u64; 2], [u64; 4]) {
        use stream::philox::{philox2x32, philox2x64, philox4x32, philox4x64};
        let ([c0, c1, k0, k1], [d0, d1, l0, l1]) = (a.words, a.wide_words);
        let narrow = (philox2x32::<10>([c0, c1], k0), philox4x32::<7>(a.words, [k0, k1]));
        let wide = (philox2x64::<10>([d0, d1], l0), philox4x64::<10>(a.wide_words, [l0, l1]));
        (narrow.0, narrow.1, wide.0, wide.1)
    }
    check_stream_threefry(a) -> ([u32; 2], [u32; 4], [u64; 2], [u64; 4]) {
        use stream::threefry::{threefry2x32, threefry2x64, threefry4x32, threefry4x64};
        let ([c0, c1, k0, k1], [d0, d1, l0, l1]) = (a.words, a.wide_words);
        let two = (threefry2x32::<20>([c0, c1], [k0, k1]), threefry2x64::<20>([d0, d1], [l0, l1]));
        let four = (threefry4x32::<20>(a.words, a.words), threefry4x64::<20>(a.wide_words, a.wide_words));
        (two.0, four.0, two.1, four.1)
    }
    check_stream_squares(a) -> (u32, u64) {
        let [counter, key, ..] = a.wide_words;
        (stream::squares::squares32(counter, key), stream::squares::squares64(counter, key))
    }

    check_drop_connect_new(a) -> Result<DropConnect, Error> {
        let [inputs, outputs, _] = a.sizes;
        DropConnect::new(inputs, outputs, a.number)
    }
    check_drop_connect_options(a) -> (usize, f64) {
        a.drop_connect = a.drop_connect.offset(a.index);
        (a.drop_connect.inputs() ^ a.drop_connect.outputs(), a.drop_connect.p())
    }
    check_drop_connect_forward(a) -> Status { a.drop_connect.forward(a.x, weights!(a), a.y, a.key) }
    check_drop_connect_backward(a) -> Status {
        let [x, matrix, bias] = a.gradients.each_mut().map(Option::as_deref_mut);
        let gradients = WeightGradients { x, matrix, bias };
        a.drop_connect.backward(a.dy, a.x, weights!(a), gradients, a.key)
    }
    check_drop_connect_infer(a) -> Status { a.drop_connect.infer(a.x, weights!(a), a.y) }
    check_drop_connect_moments(a) -> Status {
        a.drop_connect.moments(a.x, weights!(a), a.y, a.residual)
    }
    check_drop_connect_sample(a) -> Status { a.drop_connect.sample(a.mean, a.var, a.y, a.key) }
    check_drop_connect_keep(a) -> bool {
        let [output, input, _] = a.sizes;
        a.drop_connect.keep(a.key, a.index, output, input)
    }

    // Must not link: proof that the check can fail.
    control_indexing(a) -> f32 { a.x[a.sizes[0]] }
    control_slicing(a) -> usize { a.x[a.sizes[0]..a.sizes[1]].len() }
    control_dividing(a) -> usize { a.sizes[0] / a.sizes[1] }
}
