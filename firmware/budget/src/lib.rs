//! Operations as a product would call them, each an exported function that `../budget.sh` links
//! alone, and that `main.rs` runs. To measure one more, add it to [`ops`].

#![no_std]

// Brings the panic handler, without which a static library can't be.
use board as _;
use evenkeel::stream::Stream;
use evenkeel::{
    Affine, AlphaDropout, BatchNorm, DropConnect, Dropout, Error, FeatureAlphaDropout,
    FeatureDropout, Fill, GaussianDropout, Given, Gradients, GroupNorm, InstanceNorm, Keep, Key,
    LayerNorm, Layout, Moments, RmsNorm, Rows, Running, Saved, Selu, SeluAlphaDropout, Standardize,
    Statistics, Weight, WeightGradients, Weights, apart, in_place,
};

type Status = Result<(), Error>;

/// What an operation is called with.
#[derive(Debug)]
pub struct Arguments<'a> {
    /// Of which `first`, `last` and `dense` take the sizes only.
    pub layout: Layout,
    pub x: &'a [f32],
    pub dy: &'a [f32],
    pub y: &'a mut [f32],
    pub gamma: &'a [f32],
    pub beta: &'a [f32],
    pub mean: &'a mut [f32],
    /// The variance, or the reciprocal deviation.
    pub var: &'a mut [f32],
    pub saved_mean: &'a mut [f32],
    pub saved_rstd: &'a mut [f32],
    pub dgamma: &'a mut [f32],
    pub dbeta: &'a mut [f32],
    pub moments: &'a mut [Moments],
    /// As long as `x`: statistics of rows or groups, gradients of a row's parameters.
    pub long: [&'a mut [f32]; 2],
}

impl Arguments<'_> {
    /// The samples as rows.
    fn rows(&self) -> Result<Rows, Error> {
        Rows::new(self.layout.batch(), self.layout.channels() * self.layout.spatial())
    }

    /// A layer whose inputs are the elements of a sample, with as many outputs as there is room for:
    /// one to four.
    fn linear(&self) -> Result<DropConnect, Error> {
        let outputs = self.layout.batch().min(self.layout.channels()).min(4);
        DropConnect::new(self.layout.channels() * self.layout.spatial(), outputs, 0.3)
    }
}

/// Where an operation takes its layout from: `First` and `Last` are constants, so that only their
/// code should be linked; with `Any` the caller decides at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    First,
    Last,
    Any,
}

/// One row of the budget.
#[derive(Clone, Copy, Debug)]
pub struct Op {
    pub name: &'static str,
    pub order: Order,
    pub call: fn(&mut Arguments<'_>) -> Status,
}

/// For every operation three rows, one for each [`Order`]; those without a layout have one.
macro_rules! ops {
    (
        with layout { $($name:ident($layout:ident, $a:ident) $body:block)* }
        without { $($plain:ident($b:ident) $plain_body:block)* }
    ) => {
        $(
            #[inline(always)]
            fn $name($layout: Layout, $a: &mut Arguments<'_>) -> Status $body
        )*

        /// All rows, in the order of the file.
        pub const OPS: &[Op] = &[
            $(
                row!(concat!(stringify!($name), "_first"), Order::First, |a| {
                    let l = a.layout;
                    $name(Layout::channels_first(l.batch(), l.channels(), l.spatial())?, a)
                }),
                row!(concat!(stringify!($name), "_last"), Order::Last, |a| {
                    let l = a.layout;
                    $name(Layout::channels_last(l.batch(), l.spatial(), l.channels())?, a)
                }),
                row!(concat!(stringify!($name), "_any"), Order::Any, |a| $name(a.layout, a)),
            )*
            $(row!(stringify!($plain), Order::First, |$b| $plain_body),)*
        ];
    };
}

/// An [`Op`], exported under its name.
macro_rules! row {
    ($name:expr, $order:expr, |$a:ident| $body:expr) => {{
        #[unsafe(export_name = concat!("op_", $name))]
        fn call($a: &mut Arguments<'_>) -> Status {
            $body
        }
        Op { name: $name, order: $order, call }
    }};
}

ops! {
    with layout {
        batch_norm_infer(layout, a) {
            let given = Given::Running { mean: a.mean, var: a.var };
            BatchNorm::new(layout).infer(apart(a.x, a.y), Affine::new(a.gamma, a.beta), given)
        }
        batch_norm_train(layout, a) {
            let keep = Keep {
                running: Some(Running { mean: a.mean, var: a.var }),
                saved: Some(Saved { mean: a.saved_mean, rstd: a.saved_rstd }),
            };
            BatchNorm::new(layout).train(apart(a.x, a.y), Affine::new(a.gamma, a.beta), keep)
        }
        batch_norm_backward(layout, a) {
            let statistics = Statistics { mean: a.mean, rstd: a.var };
            let gradients =
                Gradients { x: Some(a.y), gamma: Some(a.dgamma), beta: Some(a.dbeta) };
            BatchNorm::new(layout).backward(a.dy, a.x, Some(a.gamma), statistics, gradients)
        }
        group_norm_forward(layout, a) {
            GroupNorm::new(layout, 2).forward(apart(a.x, a.y), Affine::new(a.gamma, a.beta), None)
        }
        group_norm_backward(layout, a) {
            let [mean, rstd] = a.long.each_ref().map(|values| &values[..2 * layout.batch()]);
            let statistics = Statistics { mean, rstd };
            let gradients =
                Gradients { x: Some(a.y), gamma: Some(a.dgamma), beta: Some(a.dbeta) };
            GroupNorm::new(layout, 2).backward(a.dy, a.x, Some(a.gamma), statistics, gradients)
        }
        instance_norm_forward(layout, a) {
            let running = Some(Running { mean: a.mean, var: a.var });
            let keep = Keep { running, saved: None };
            let affine = Affine::new(a.gamma, a.beta);
            InstanceNorm::new(layout).forward(apart(a.x, a.y), affine, keep)
        }
        feature_dropout_forward(layout, a) {
            FeatureDropout::new(layout, 0.3)?.forward(in_place(a.y), Key::new(1))
        }
        feature_alpha_dropout_forward(layout, a) {
            FeatureAlphaDropout::new(layout, 0.3)?.forward(in_place(a.y), Key::new(1))
        }
        standardize_fit(layout, a) { Standardize::new(layout).fit(a.x, a.moments) }
        standardize_apply(layout, a) {
            Standardize::new(layout).apply(apart(a.x, a.y), a.moments)
        }
    }
    without {
        batch_norm_fold(a) {
            let given = Given::Running { mean: a.mean, var: a.var };
            let weight = Weight::OutputFirst(a.y);
            BatchNorm::new(a.layout).fold(Affine::new(a.gamma, a.beta), given, weight, a.dbeta)
        }
        layer_norm_forward(a) {
            let gamma = &a.dy[..a.rows()?.row_len()];
            LayerNorm::new(a.rows()?).forward(apart(a.x, a.y), Affine::new(gamma, gamma), None)
        }
        layer_norm_backward(a) {
            let rows = a.rows()?;
            let gamma = Some(&a.dy[..rows.row_len()]);
            let (mean, rstd) = (&a.x[..rows.count()], &a.dy[..rows.count()]);
            let [dgamma, dbeta] = a.long.each_mut().map(|values| &mut values[..rows.row_len()]);
            let gradients = Gradients { x: Some(a.y), gamma: Some(dgamma), beta: Some(dbeta) };
            LayerNorm::new(rows).backward(a.dy, a.x, gamma, Statistics { mean, rstd }, gradients)
        }
        rms_norm_forward(a) {
            let gamma = &a.dy[..a.rows()?.row_len()];
            RmsNorm::new(a.rows()?).forward(apart(a.x, a.y), Some(gamma), None)
        }
        rms_norm_backward(a) {
            let rows = a.rows()?;
            let (gamma, rstd) = (Some(&a.dy[..rows.row_len()]), &a.dy[..rows.count()]);
            let [dgamma, _] = a.long.each_mut().map(|values| &mut values[..rows.row_len()]);
            let gradients = Gradients { x: Some(a.y), gamma: Some(dgamma), beta: None };
            RmsNorm::new(rows).backward(a.dy, a.x, gamma, rstd, gradients)
        }
        selu_forward(a) { Selu::new().forward(apart(a.x, a.y)) }
        selu_backward(a) { Selu::new().backward(apart(a.dy, a.y), a.x) }
        dropout_forward(a) { Dropout::new(0.3)?.forward(in_place(a.y), Key::new(1)) }
        alpha_dropout_forward(a) { AlphaDropout::new(0.3)?.forward(in_place(a.y), Key::new(1)) }
        selu_alpha_dropout_forward(a) {
            SeluAlphaDropout::new(0.05)?.forward(in_place(a.y), Key::new(1))
        }
        selu_alpha_dropout_backward(a) {
            SeluAlphaDropout::new(0.05)?.backward(apart(a.dy, a.y), a.x, Key::new(1))
        }
        stream_dropout_triton(a) {
            Dropout::new(0.3)?.stream(Stream::Triton)?.forward(in_place(a.y), Key::new(1))
        }
        gaussian_dropout_forward(a) {
            GaussianDropout::new(0.3)?.forward(in_place(a.y), Key::new(1))
        }
        fill_uniform(a) { Fill::new(Key::new(1)).uniform(a.y, -1.0, 1.0) }
        fill_normal(a) { Fill::new(Key::new(1)).normal(a.y, 0.0, 1.0) }
        drop_connect_forward(a) {
            let layer = a.linear()?;
            let (outputs, results) = (layer.outputs(), layer.outputs() * a.layout.batch());
            let matrix = &a.dy[..outputs * layer.inputs()];
            let weights = Weights { matrix, bias: Some(&a.beta[..outputs]) };
            layer.forward(a.x, weights, &mut a.y[..results], Key::new(1))
        }
        drop_connect_backward(a) {
            let layer = a.linear()?;
            let (outputs, results) = (layer.outputs(), layer.outputs() * a.layout.batch());
            let [matrix, dmatrix] =
                a.long.each_mut().map(|values| &mut values[..outputs * layer.inputs()]);
            let weights = Weights { matrix, bias: Some(&a.beta[..outputs]) };
            let gradients = WeightGradients {
                x: Some(a.y),
                matrix: Some(dmatrix),
                bias: Some(&mut a.dbeta[..outputs]),
            };
            layer.backward(&a.dy[..results], a.x, weights, gradients, Key::new(1))
        }
        moments_of(a) {
            a.moments.fill(Moments::of(a.x));
            Ok(())
        }
        // Sensor values one by one.
        moments_push(a) {
            let Some(moments) = a.moments.first_mut() else { return Ok(()) };
            a.x.iter().for_each(|&x| moments.push(x.into()));
            Ok(())
        }
    }
}
