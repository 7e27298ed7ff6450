//! Every operation as the judges see it.
//!
//! An operation is one file here. It describes each of its verbs once, by two traits: [`Op`] (the
//! slices and the call) and [`Subject`] (what the call must give: by the reference to the bit, by
//! the oracle within limits). The judges, files in `tests/`, walk over [`for_every_subject`].
//!
//! [`mod@reference`] and [`oracle`] share no code with the crate under test.

#![cfg_attr(not(feature = "judges"), no_std)]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sizes are small, and rounding is the subject"
)]

pub mod batch_norm;
pub mod call;
pub mod drop_connect;
pub mod dropout;
pub mod drops;
pub mod fill;
pub mod group_norm;
pub mod instance_norm;
pub mod row_norm;
pub mod selu;
pub mod selu_alpha;
pub mod source;
pub mod standardize;

#[cfg(feature = "judges")]
pub mod arrays;
#[cfg(feature = "judges")]
pub mod draw;
#[cfg(feature = "judges")]
#[path = "../common/oracle.rs"]
pub mod oracle;
#[cfg(feature = "judges")]
#[path = "../reference/mod.rs"]
pub mod reference;
#[cfg(feature = "judges")]
pub mod rows;
#[cfg(feature = "judges")]
pub mod subject;

pub use call::{Arg, Args, Case, Fused, Holds, Op, Role, Slot};
pub use source::Source;
#[cfg(feature = "judges")]
pub use {
    arrays::{Array, Arrays},
    subject::{Expected, Subject},
};

/// The list of all subjects. Hands it to a macro, as lines of `name: Type,`.
#[macro_export]
macro_rules! for_every_subject {
    ($judge:ident) => {
        $judge! {
            train: $crate::batch_norm::Train,
            infer: $crate::batch_norm::Infer,
            infer_population: $crate::batch_norm::InferPopulation,
            collect: $crate::batch_norm::Collect,
            backward: $crate::batch_norm::Backward,
            backward_given: $crate::batch_norm::BackwardGiven,
            fold: $crate::batch_norm::Fold,
            group_norm: $crate::group_norm::Forward,
            group_norm_backward: $crate::group_norm::Backward,
            instance_norm: $crate::instance_norm::Forward,
            instance_norm_infer: $crate::instance_norm::Infer,
            instance_norm_backward: $crate::instance_norm::Backward,
            layer_norm: $crate::row_norm::Layer,
            layer_norm_backward: $crate::row_norm::LayerBackward,
            rms_norm: $crate::row_norm::Rms,
            rms_norm_backward: $crate::row_norm::RmsBackward,
            fit: $crate::standardize::Fit,
            standardize: $crate::standardize::Apply,
            selu: $crate::selu::Forward,
            selu_backward: $crate::selu::Backward,
            dropout: $crate::dropout::Forward,
            dropout_backward: $crate::dropout::Backward,
            dropout_infer: $crate::dropout::Infer,
            dropout_mask: $crate::dropout::WriteMask,
            alpha_dropout: $crate::drops::Forward<$crate::drops::Alpha>,
            alpha_dropout_backward: $crate::drops::Backward<$crate::drops::Alpha>,
            feature_dropout: $crate::drops::Forward<$crate::drops::Feature>,
            feature_dropout_backward: $crate::drops::Backward<$crate::drops::Feature>,
            feature_alpha_dropout: $crate::drops::Forward<$crate::drops::FeatureAlpha>,
            feature_alpha_dropout_backward: $crate::drops::Backward<$crate::drops::FeatureAlpha>,
            selu_alpha_dropout: $crate::selu_alpha::Forward,
            selu_alpha_dropout_backward: $crate::selu_alpha::Backward,
            gaussian_dropout: $crate::fill::Forward,
            gaussian_dropout_backward: $crate::fill::Backward,
            drop_connect: $crate::drop_connect::Forward,
            drop_connect_backward: $crate::drop_connect::Backward,
            drop_connect_infer: $crate::drop_connect::Infer,
            drop_connect_moments: $crate::drop_connect::Moments,
            drop_connect_sample: $crate::drop_connect::Sample,
            uniform: $crate::fill::Uniform,
            normal: $crate::fill::Normal,
        }
    };
}
