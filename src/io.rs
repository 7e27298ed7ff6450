//! The nouns of a call: what is read, what is written, parameters, statistics, gradients. Each
//! checks itself.

use crate::error::{check_len, check_optional};
use crate::kernel::backward::ParameterGradients;
use crate::kernel::decorate;
use crate::kernel::map::Tensor;
use crate::{Backend, Dropout, Error, Key, Moments};

/// Input and output of a call, and what is done around the operation in the same call.
///
/// Made by [`apart`] or [`in_place`]; decorated by [`add`](Io::add), [`then`](Io::then) and
/// [`drop`](Io::drop). Whatever the order in which they are named, they are done in this one: the
/// residual is added, the operation is applied, then the activation, then dropout.
///
/// # Examples
///
/// ```
/// use evenkeel::{Activation, Affine, BatchNorm, Keep, Layout, apart};
/// let layout = Layout::dense(4, 1)?;
/// let x = [1.0, 2.0, 3.0, 4.0];
/// let (mut residual, mut y) = ([10.0; 4], [0.0; 4]);
/// let io = apart(&x, &mut y).add(&mut residual).then(Activation::Relu);
/// BatchNorm::new(layout).train(io, Affine::NONE, Keep::NOTHING)?;
/// assert_eq!(residual, [11.0, 12.0, 13.0, 14.0]); // residual ← x + residual
/// assert_eq!(y[..2], [0.0, 0.0]); // normalized, then rectified
/// # Ok::<(), evenkeel::Error>(())
/// ```
#[derive(Debug)]
pub struct Io<'a, T = f32> {
    x: Option<&'a [T]>,
    y: &'a mut [T],
    // Each decoration comes with the function that does it. A program that never asks for one then does
    // not contain it, though every operation could be asked.
    residual: Option<(&'a mut [T], Accumulate<T>)>,
    activation: Option<Activate<T>>,
    dropout: Option<(Dropout, Key, Drop<T>)>,
}

/// Adds a tensor to a residual.
type Accumulate<T> = fn(Backend, &[T], &mut [T]);
/// Applies an activation.
type Activate<T> = fn(Backend, &mut [T]);
/// Drops elements.
type Drop<T> = fn(&Dropout, Key, &mut [T]);

/// Reads `x` and writes `y`.
pub const fn apart<'a, T>(x: &'a [T], y: &'a mut [T]) -> Io<'a, T> {
    Io { x: Some(x), y, residual: None, activation: None, dropout: None }
}

/// Reads `x` and overwrites it.
pub const fn in_place<T>(x: &mut [T]) -> Io<'_, T> {
    Io { x: None, y: x, residual: None, activation: None, dropout: None }
}

/// What is applied to every element of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activation {
    /// The larger of a number and zero; NaN stays NaN and −0.0 becomes +0.0.
    Relu,
    /// Scaled exponential linear unit: [`Selu`](crate::Selu).
    Selu,
}

impl<'a> Io<'a> {
    /// Adds a residual first: residual ← x + residual, and that sum is what the operation reads. `x`
    /// stays as it is, unless it is also the output.
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "the field's word for it")]
    pub fn add(self, residual: &'a mut [f32]) -> Self {
        Self { residual: Some((residual, decorate::accumulate)), ..self }
    }

    /// Applies an activation to the result.
    #[must_use]
    #[inline]
    pub fn then(self, activation: Activation) -> Self {
        Self { activation: Some(decorate::activation(activation)), ..self }
    }

    /// Drops elements of the result, after the activation: [`Dropout::forward`].
    #[must_use]
    pub fn drop(self, dropout: &Dropout, key: Key) -> Self {
        let apply = |dropout: &Dropout, key, y: &mut [f32]| dropout.apply(key, Tensor::InPlace(y));
        Self { dropout: Some((*dropout, key, apply)), ..self }
    }
}

impl Io<'_> {
    /// The length of the input.
    pub(crate) fn input_len(&self) -> usize {
        self.x.map_or(self.y.len(), <[f32]>::len)
    }

    /// Checks all lengths against that of the operation.
    pub(crate) fn check(&self, len: usize) -> Result<(), Error> {
        self.check_as(["x", "y"], len)
    }

    /// The same where input and output have other names.
    pub(crate) fn check_as(&self, names: [&'static str; 2], len: usize) -> Result<(), Error> {
        let [x, y] = names;
        check_len(x, len, self.input_len())?;
        check_len(y, len, self.y.len())?;
        if let Some((residual, _)) = &self.residual {
            check_len("residual", len, residual.len())?;
        }
        self.dropout.as_ref().map_or(Ok(()), |(dropout, ..)| dropout.check(len))
    }

    /// Refuses decorations, which are done to the whole slice, where not all of it are elements.
    pub(crate) const fn check_gaps(&self, has_gaps: bool) -> Result<(), Error> {
        let Self { residual, activation, dropout, .. } = self;
        let decorated = residual.is_some() || activation.is_some() || dropout.is_some();
        if has_gaps && decorated { Err(Error::Gaps) } else { Ok(()) }
    }

    /// Does the operation between what comes before and what comes after it.
    pub(crate) fn run(self, backend: Backend, operation: impl FnOnce(Tensor<'_>)) {
        let Self { x, y, residual, activation, dropout } = self;
        let tensor = match (x, residual) {
            (Some(x), None) => Tensor::Apart(x, &mut *y),
            (None, None) => Tensor::InPlace(&mut *y),
            (x, Some((residual, accumulate))) => {
                accumulate(backend, x.unwrap_or(y), residual);
                Tensor::Apart(residual, &mut *y)
            }
        };
        // Called in one place, so that its code is there once.
        operation(tensor);
        if let Some(activate) = activation {
            activate(backend, y);
        }
        if let Some((dropout, key, drop)) = dropout {
            drop(&dropout, key, y);
        }
    }
}

/// Optional scale γ and shift β.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a, P = f32> {
    /// The scale; `None` is 1.
    pub gamma: Option<&'a [P]>,
    /// The shift; `None` is 0.
    pub beta: Option<&'a [P]>,
}

impl<'a, P> Affine<'a, P> {
    /// No scale and no shift.
    pub const NONE: Self = Self { gamma: None, beta: None };

    /// Both.
    #[must_use]
    pub const fn new(gamma: &'a [P], beta: &'a [P]) -> Self {
        Self { gamma: Some(gamma), beta: Some(beta) }
    }
}

impl Affine<'_> {
    pub(crate) fn check(&self, len: usize) -> Result<(), Error> {
        check_optional("gamma", len, self.gamma)?;
        check_optional("beta", len, self.beta)
    }
}

/// Running statistics, C values each, updated by a training pass.
#[derive(Debug)]
pub struct Running<'a, P = f32> {
    /// The running mean.
    pub mean: &'a mut [P],
    /// The running variance.
    pub var: &'a mut [P],
}

impl Running<'_> {
    pub(crate) fn check(&self, channels: usize) -> Result<(), Error> {
        check_len("running_mean", channels, self.mean.len())?;
        check_len("running_var", channels, self.var.len())
    }
}

/// Where a forward pass puts the statistics that backward needs: one value a reduction.
#[derive(Debug)]
pub struct Saved<'a, P = f32> {
    /// The mean.
    pub mean: &'a mut [P],
    /// 1 / sqrt(var + eps).
    pub rstd: &'a mut [P],
}

impl Saved<'_> {
    pub(crate) fn check(&self, len: usize) -> Result<(), Error> {
        check_len("saved_mean", len, self.mean.len())?;
        check_len("saved_rstd", len, self.rstd.len())
    }

    /// Writes the statistics of neighbouring reductions.
    pub(crate) fn write(&mut self, first: usize, mean: &[f32], rstd: &[f32]) {
        set(self.mean, first, mean);
        set(self.rstd, first, rstd);
    }
}

/// What a training pass keeps of the batch's statistics.
#[derive(Debug)]
pub struct Keep<'a, P = f32> {
    /// Running statistics to update.
    pub running: Option<Running<'a, P>>,
    /// Where to save the batch's own, for backward.
    pub saved: Option<Saved<'a, P>>,
}

impl<'a, P> Keep<'a, P> {
    /// Neither.
    pub const NOTHING: Self = Self { running: None, saved: None };

    /// The batch's statistics only.
    #[must_use]
    pub const fn saved(mean: &'a mut [P], rstd: &'a mut [P]) -> Self {
        Self { running: None, saved: Some(Saved { mean, rstd }) }
    }

    /// Running statistics only.
    #[must_use]
    pub const fn running(mean: &'a mut [P], var: &'a mut [P]) -> Self {
        Self { running: Some(Running { mean, var }), saved: None }
    }
}

impl Keep<'_> {
    pub(crate) fn check(&self, channels: usize) -> Result<(), Error> {
        if let Some(running) = &self.running {
            running.check(channels)?;
        }
        self.saved.as_ref().map_or(Ok(()), |saved| saved.check(channels))
    }
}

/// Statistics that are given: constants of the data set.
#[derive(Clone, Copy, Debug)]
pub enum Given<'a, P = f32> {
    /// Mean and variance a channel, as running statistics are.
    Running {
        /// The mean.
        mean: &'a [P],
        /// The variance.
        var: &'a [P],
    },
    /// Moments a channel, gathered over a data set. More accurate where the mean is large against
    /// the deviation, since the mean is not rounded to f32. Moments without values count as mean 0,
    /// variance 0.
    Population(&'a [Moments]),
}

impl Given<'_> {
    pub(crate) fn check(&self, channels: usize) -> Result<(), Error> {
        match self {
            Self::Running { mean, var } => {
                check_len("mean", channels, mean.len())?;
                check_len("var", channels, var.len())
            }
            Self::Population(moments) => check_len("moments", channels, moments.len()),
        }
    }
}

/// The statistics that a forward pass saved, for backward: what [`Saved`] was filled with.
#[derive(Clone, Copy, Debug)]
pub struct Statistics<'a, P = f32> {
    /// The mean.
    pub mean: &'a [P],
    /// 1 / sqrt(var + eps).
    pub rstd: &'a [P],
}

impl Statistics<'_> {
    pub(crate) fn check(&self, len: usize) -> Result<(), Error> {
        check_len("saved_mean", len, self.mean.len())?;
        check_len("saved_rstd", len, self.rstd.len())
    }
}

/// What backward of a normalization with optional given statistics starts from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a, P = f32> {
    /// The batch's own statistics, which have gradients of their own.
    Saved(Statistics<'a, P>),
    /// Constants.
    Given(Given<'a, P>),
}

impl<'a, P> From<Statistics<'a, P>> for Source<'a, P> {
    fn from(statistics: Statistics<'a, P>) -> Self {
        Self::Saved(statistics)
    }
}

impl<'a, P> From<Given<'a, P>> for Source<'a, P> {
    fn from(given: Given<'a, P>) -> Self {
        Self::Given(given)
    }
}

impl Source<'_> {
    pub(crate) fn check(&self, channels: usize) -> Result<(), Error> {
        match self {
            Self::Saved(statistics) => statistics.check(channels),
            Self::Given(given) => given.check(channels),
        }
    }
}

/// Where a backward pass puts its results. What is `None` is not written.
#[derive(Debug)]
pub struct Gradients<'a, T = f32, P = f32> {
    /// Gradient of the input: the layout's length.
    pub x: Option<&'a mut [T]>,
    /// Gradient of γ, of its length.
    pub gamma: Option<&'a mut [P]>,
    /// Gradient of β, of its length.
    pub beta: Option<&'a mut [P]>,
}

impl<T, P> Default for Gradients<'_, T, P> {
    fn default() -> Self {
        Self { x: None, gamma: None, beta: None }
    }
}

/// Where the gradients of γ and β go.
pub(crate) struct ParameterSlots<'a> {
    gamma: Option<&'a mut [f32]>,
    beta: Option<&'a mut [f32]>,
}

impl<'a> Gradients<'a> {
    /// The gradient of the input, and those of the parameters.
    pub(crate) fn split(self) -> (Option<&'a mut [f32]>, ParameterSlots<'a>) {
        let Self { x, gamma, beta } = self;
        (x, ParameterSlots { gamma, beta })
    }
}

impl ParameterSlots<'_> {
    /// Whether there are any.
    pub(crate) const fn are_wanted(&self) -> bool {
        self.gamma.is_some() || self.beta.is_some()
    }

    /// Sums over nothing.
    pub(crate) fn zero(self) {
        self.gamma.unwrap_or_default().fill(0.0);
        self.beta.unwrap_or_default().fill(0.0);
    }

    /// Writes those of neighbours.
    pub(crate) fn write(&mut self, gradients: &ParameterGradients) {
        if let Some(gamma) = &mut self.gamma {
            set(gamma, gradients.number, gradients.gamma());
        }
        if let Some(beta) = &mut self.beta {
            set(beta, gradients.number, gradients.beta());
        }
    }
}

impl Gradients<'_> {
    /// The lengths of those of γ and of β are `gamma` and `beta`.
    pub(crate) fn check(&self, len: usize, [gamma, beta]: [usize; 2]) -> Result<(), Error> {
        check_optional("dx", len, self.x.as_deref())?;
        check_optional("dgamma", gamma, self.gamma.as_deref())?;
        check_optional("dbeta", beta, self.beta.as_deref())
    }
}

/// An element that the checks have shown to be there.
pub(crate) fn get(values: &[f32], index: usize) -> f32 {
    debug_assert!(index < values.len());
    values.get(index).copied().unwrap_or(0.0)
}

/// Writes neighbouring elements.
pub(crate) fn set(values: &mut [f32], first: usize, new: &[f32]) {
    for (slot, value) in values.iter_mut().skip(first).zip(new) {
        *slot = *value;
    }
}
