//! DropConnect: a linear layer in which random connections are dropped.

use crate::backend::dispatch;
use crate::drops::Probability;
use crate::error::{check_len, check_optional};
use crate::kernel::connect::Layer;
use crate::kernel::connect::columns::{self, Columns};
use crate::kernel::connect::rows::{self, Expected};
use crate::kernel::decorate;
use crate::kernel::map::Tensor;
use crate::kernel::mask::Draw;
use crate::kernel::numbers::{self, Normal, Scattered, Source};
use crate::{Backend, Error, Key};

/// A linear layer of which training drops single connections, anew for every sample.
///
/// In training, for sample s, output o and input i
///
/// ```text
/// y[s, o] = Σ m[s, o, i]·W[o, i]·x[s, i] + m[s, o, inputs]·b[o]      m is 0 with probability p, else 1
/// ```
///
/// Nothing is scaled: this is the paper's form, in which inference makes up for it. The activation is
/// yours to apply.
///
/// At inference y is a sum of many independent terms, and nearly normal. [`moments`](Self::moments)
/// gives its mean and variance, [`sample`](Self::sample) draws from them; the paper averages the
/// activation of such samples. [`infer`](Self::infer) is the mean alone, to which the activation is
/// then applied once: what is usual for dropout.
///
/// No mask is stored: [`backward`](Self::backward) computes it again from the same key. Sample s of a call
/// is sample `offset` + s of the batch, so that a call may do any part of it.
///
/// For a network of dropped activations instead of dropped connections, use [`Dropout`](crate::Dropout).
///
/// # Shapes
///
/// `x`: batch × inputs. `y`, `mean`, `variance`: batch × outputs. [`Weights`]: a matrix of outputs × inputs,
/// a bias for each output. The batch is as large as `x` has room for; a layer without inputs has an empty
/// one.
///
/// # Numerics
///
/// Same bits on every target: docs/NUMERICS.md, section 21. A dropped connection adds nothing, whatever its
/// weight and input are: a NaN there is not seen. A sum of ordinary terms is within 2 ulp of the sum of
/// their absolute values, however many they are; within 5 if one is most of it. p is exact to 2^-40; p = 0
/// is a plain linear layer, p = 1 gives zeros.
///
/// # Complexity
///
/// A multiplication, an addition and 8.13 random bits a connection and sample. A product of matrices by a
/// library for them is many times as fast, but has no mask of its own for every sample.
///
/// # Examples
///
/// ```
/// use evenkeel::{DropConnect, Key, Weights};
/// let layer = DropConnect::new(3, 2, 0.5)?;
/// let weights = Weights { matrix: &[1.0, 2.0, 4.0, 3.0, 0.0, 1.0], bias: Some(&[8.0, -1.0]) };
/// let x = [1.0, 1.0, 1.0];
/// let key = Key::new(42).fold_in(17);
///
/// let mut y = [0.0; 2];
/// layer.forward(&x, weights, &mut y, key)?;
/// let kept = |i| if layer.keep(key, 0, 0, i) { [1.0, 2.0, 4.0, 8.0][i] } else { 0.0 };
/// assert_eq!(y[0], kept(0) + kept(1) + kept(2) + kept(3));
///
/// // Inference: the mean of the rectified outputs of 1000 samples.
/// let (mut mean, mut variance) = ([0.0; 2], [0.0; 2]);
/// layer.moments(&x, weights, &mut mean, &mut variance)?;
/// assert_eq!((mean, variance), ([7.5, 1.5], [21.25, 2.75]));
/// let mut average = [0.0; 2];
/// for i in 0..1000 {
///     layer.sample(&mean, &variance, &mut y, Key::new(7).fold_in(i))?;
///     for (average, y) in average.iter_mut().zip(y) {
///         *average += y.max(0.0) / 1000.0;
///     }
/// }
/// // The rectified mean is too low where the sign is not certain.
/// assert!((average[0] - 7.6).abs() < 0.3 && (average[1] - 1.66).abs() < 0.15);
/// # Ok::<(), evenkeel::Error>(())
/// ```
///
/// # References
///
/// L. Wan, M. Zeiler, S. Zhang, Y. LeCun, R. Fergus, "Regularization of neural networks using
/// DropConnect", ICML 2013: training in section 3.1, inference (the two moments, and the average over
/// samples) in section 3.2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DropConnect {
    inputs: usize,
    outputs: usize,
    probability: Probability,
    offset: u64,
    backend: Backend,
}

/// The weights of a linear layer.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a, P = f32> {
    /// outputs × inputs: those of an output lie together.
    pub matrix: &'a [P],
    /// One for each output; `None` is none.
    pub bias: Option<&'a [P]>,
}

/// Where the gradients of a linear layer go. What is `None` is neither computed nor written.
#[derive(Debug)]
pub struct WeightGradients<'a, T = f32, P = f32> {
    /// Gradient of the input, of its length.
    pub x: Option<&'a mut [T]>,
    /// Gradient of the matrix, of its length.
    pub matrix: Option<&'a mut [P]>,
    /// Gradient of the bias: one for each output.
    pub bias: Option<&'a mut [P]>,
}

impl<T, P> Default for WeightGradients<'_, T, P> {
    fn default() -> Self {
        Self { x: None, matrix: None, bias: None }
    }
}

impl WeightGradients<'_> {
    fn fill_zeros(self) {
        for gradient in [self.x, self.matrix, self.bias].into_iter().flatten() {
            gradient.fill(0.0);
        }
    }
}

impl DropConnect {
    /// A layer that drops a connection with probability `p`.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if `outputs` · (`inputs` + 1) overflows `usize`; [`Error::Probability`] if `p`
    /// is not from 0 to 1.
    pub fn new(inputs: usize, outputs: usize, p: f64) -> Result<Self, Error> {
        let each = inputs.checked_add(1).ok_or(Error::TooLarge)?;
        outputs.checked_mul(each).ok_or(Error::TooLarge)?;
        let probability = Probability::new(p)?;
        Ok(Self { inputs, outputs, probability, offset: 0, backend: Backend::detect() })
    }

    /// Says which sample of the batch a call's first sample is.
    #[must_use]
    pub const fn offset(self, offset: u64) -> Self {
        Self { offset, ..self }
    }

    /// Chooses the instruction set.
    #[must_use]
    pub const fn backend(self, backend: Backend) -> Self {
        Self { backend, ..self }
    }

    /// The number of inputs.
    #[must_use]
    pub const fn inputs(&self) -> usize {
        self.inputs
    }

    /// The number of outputs.
    #[must_use]
    pub const fn outputs(&self) -> usize {
        self.outputs
    }

    /// The probability to drop.
    #[must_use]
    pub const fn p(&self) -> f64 {
        self.probability.given()
    }

    /// The product with connections dropped: training.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the number of the last decision does not fit 64 bits; [`Error::Length`] for
    /// the first slice whose length is not that of "Shapes" above.
    pub fn forward(
        &self,
        x: &[f32],
        weights: Weights<'_>,
        y: &mut [f32],
        key: Key,
    ) -> Result<(), Error> {
        let batch = self.batch(x)?;
        self.check_decisions(batch)?;
        self.check_inputs(x, weights)?;
        check_len("y", batch.wrapping_mul(self.outputs), y.len())?;
        let layer = self.layer(weights);
        match self.draw(key) {
            Some(draw) if batch > 0 => {
                dispatch!(self.backend, simd => rows::forward(simd, layer, draw, x, y));
            }
            _ => y.fill(0.0),
        }
        Ok(())
    }

    /// Gradients of [`forward`](Self::forward), by the same mask.
    ///
    /// ```text
    /// dx[s, i] = Σ m[s, o, i]·W[o, i]·dy[s, o]                       over the outputs
    /// dW[o, i] = Σ m[s, o, i]·x[s, i]·dy[s, o]
    /// db[o]    = Σ m[s, o, inputs]·dy[s, o]                          both over the samples
    /// ```
    ///
    /// Gradients are written, not added; those of the weights are zero where there are no samples.
    ///
    /// # Complexity
    ///
    /// That of a forward pass for dx, and the same again for dW and db together.
    ///
    /// # Errors
    ///
    /// As [`forward`](Self::forward); the gradients' names are `dx`, `dmatrix` and `dbias`.
    ///
    /// # Examples
    ///
    /// ```
    /// use evenkeel::{DropConnect, Key, WeightGradients, Weights};
    /// let layer = DropConnect::new(2, 1, 0.5)?;
    /// let weights = Weights { matrix: &[3.0, 5.0], bias: None };
    /// let key = Key::new(1);
    /// let mut dx = [0.0; 2];
    /// let gradients = WeightGradients { x: Some(&mut dx), ..WeightGradients::default() };
    /// layer.backward(&[1.0], &[1.0, 1.0], weights, gradients, key)?;
    /// assert_eq!(dx[1], if layer.keep(key, 0, 0, 1) { 5.0 } else { 0.0 });
    /// # Ok::<(), evenkeel::Error>(())
    /// ```
    pub fn backward(
        &self,
        dy: &[f32],
        x: &[f32],
        weights: Weights<'_>,
        gradients: WeightGradients<'_>,
        key: Key,
    ) -> Result<(), Error> {
        let batch = self.batch(x)?;
        self.check_decisions(batch)?;
        check_len("dy", batch.wrapping_mul(self.outputs), dy.len())?;
        self.check_inputs(x, weights)?;
        check_optional("dx", x.len(), gradients.x.as_deref())?;
        check_optional("dmatrix", weights.matrix.len(), gradients.matrix.as_deref())?;
        check_optional("dbias", self.outputs, gradients.bias.as_deref())?;
        let Some(draw) = self.draw(key).filter(|_| batch > 0) else {
            gradients.fill_zeros();
            return Ok(());
        };
        let Self { inputs, outputs, .. } = *self;
        let WeightGradients { x: dx, matrix, bias } = gradients;
        let of_x = Columns {
            matrix: weights.matrix,
            inputs,
            rows: outputs,
            dy,
            sums: batch,
            sum_step: outputs,
            row_step: 1,
            into: dx,
            bias: None,
        };
        let of_weights = Columns {
            matrix: x,
            inputs,
            rows: batch,
            dy,
            sums: outputs,
            sum_step: 1,
            row_step: outputs,
            into: matrix,
            bias,
        };
        // One loop, so that its code is there once.
        dispatch!(self.backend, simd => {
            for columns in [of_x, of_weights] {
                columns::run(simd, draw, columns);
            }
        });
        Ok(())
    }

    /// Inference by the mean network: y = (1 − p)·(W·x + b).
    ///
    /// # Errors
    ///
    /// [`Error::Length`] for the first slice whose length is not that of "Shapes" above;
    /// [`Error::TooLarge`] if the length of `y` would overflow `usize`.
    pub fn infer(&self, x: &[f32], weights: Weights<'_>, y: &mut [f32]) -> Result<(), Error> {
        let batch = self.batch(x)?;
        self.check_inputs(x, weights)?;
        check_len("y", batch.wrapping_mul(self.outputs), y.len())?;
        self.expect(x, weights, y, None);
        Ok(())
    }

    /// Mean and variance of what [`forward`](Self::forward) gives, over all masks.
    ///
    /// ```text
    /// mean     = (1 − p)·(W·x + b)
    /// variance = p·(1 − p)·((W∘W)·(x∘x) + b∘b)
    /// ```
    ///
    /// The variance is computed in f64, so that squares neither overflow nor vanish.
    ///
    /// # Errors
    ///
    /// As [`infer`](Self::infer); the outputs' names are `mean` and `variance`.
    pub fn moments(
        &self,
        x: &[f32],
        weights: Weights<'_>,
        mean: &mut [f32],
        variance: &mut [f32],
    ) -> Result<(), Error> {
        let batch = self.batch(x)?;
        self.check_inputs(x, weights)?;
        check_len("mean", batch.wrapping_mul(self.outputs), mean.len())?;
        check_len("variance", mean.len(), variance.len())?;
        self.expect(x, weights, mean, Some(variance));
        Ok(())
    }

    /// Draws outputs with given moments: y = mean + sqrt(variance)·z with z standard normal.
    ///
    /// z of sample s and output o is number s·outputs + o of [`Fill::normal`](crate::Fill::normal) with
    /// this key, where s counts from `offset`. Fold a number into the key for every time that samples are
    /// drawn. The batch is as large as `mean` has room for.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the last number's number does not fit 64 bits; [`Error::Length`] for `mean`
    /// if its length is no multiple of the outputs, for `variance` and `y` if they differ from it.
    pub fn sample(
        &self,
        mean: &[f32],
        variance: &[f32],
        y: &mut [f32],
        key: Key,
    ) -> Result<(), Error> {
        let each = self.outputs as u64;
        let first = check_product(self.offset, (mean.len() as u64).div_ceil(each.max(1)), each)?;
        check_multiple("mean", self.outputs, mean.len())?;
        check_len("variance", mean.len(), variance.len())?;
        check_len("y", mean.len(), y.len())?;
        let source = Source::new(key, first);
        let standard = Normal { mean: 0.0, deviation: 1.0 };
        let tensor = Tensor::Apart(variance, &mut *y);
        dispatch!(self.backend, simd => {
            numbers::combine(simd, source, standard, Scattered, tensor);
        });
        decorate::accumulate(self.backend, mean, y);
        Ok(())
    }

    /// Whether a connection of a sample is kept; that of the bias is input number `inputs`. The sample's
    /// number is the batch's: the offset of this value does not count. Numbers of decisions that do not fit
    /// 64 bits are those of no connection; here they are taken modulo 2^64.
    #[must_use]
    pub fn keep(&self, key: Key, sample: u64, output: usize, input: usize) -> bool {
        let row = sample.wrapping_mul(self.outputs as u64).wrapping_add(output as u64);
        let number = row.wrapping_mul(self.decisions()).wrapping_add(input as u64);
        self.probability.threshold().is_some_and(|threshold| threshold.keeps(key, number))
    }

    /// Decisions of an output.
    const fn decisions(&self) -> u64 {
        // Cannot wrap: `new` has added the same.
        (self.inputs as u64).wrapping_add(1)
    }

    /// The decisions of a key; nothing where everything is dropped.
    fn draw(&self, key: Key) -> Option<Draw> {
        let threshold = self.probability.threshold()?;
        let each = self.decisions().wrapping_mul(self.outputs as u64);
        Some(Draw { threshold, key, offset: self.offset.wrapping_mul(each) })
    }

    const fn layer<'a>(&self, Weights { matrix, bias }: Weights<'a>) -> Layer<'a> {
        Layer { inputs: self.inputs, outputs: self.outputs, matrix, bias }
    }

    /// The number of whole samples in `x`, whose outputs can be counted.
    fn batch(&self, x: &[f32]) -> Result<usize, Error> {
        let batch = x.len().checked_div(self.inputs).unwrap_or(0);
        batch.checked_mul(self.outputs).ok_or(Error::TooLarge)?;
        Ok(batch)
    }

    /// Checks that the decisions of so many samples have a number.
    fn check_decisions(&self, batch: usize) -> Result<(), Error> {
        let each = self.decisions().checked_mul(self.outputs as u64).ok_or(Error::TooLarge)?;
        check_product(self.offset, batch as u64, each).map(|_| ())
    }

    fn check_inputs(&self, x: &[f32], weights: Weights<'_>) -> Result<(), Error> {
        check_multiple("x", self.inputs, x.len())?;
        // Cannot wrap: `new` has multiplied more.
        check_len("matrix", self.outputs.wrapping_mul(self.inputs), weights.matrix.len())?;
        check_optional("bias", self.outputs, weights.bias)
    }

    /// Mean and, if it is asked for, variance. Where everything is dropped both are zero, be there a NaN.
    fn expect(
        &self,
        x: &[f32],
        weights: Weights<'_>,
        mean: &mut [f32],
        variance: Option<&mut [f32]>,
    ) {
        if self.probability.threshold().is_none() || x.is_empty() {
            mean.fill(0.0);
            variance.unwrap_or_default().fill(0.0);
            return;
        }
        let layer = self.layer(weights);
        let (keep, drop) = (self.probability.keep(), self.probability.drop());
        let into = Expected { keep, spread: drop * keep, mean, variance };
        dispatch!(self.backend, simd => rows::expect(simd, layer, x, into));
    }
}

/// Checks that `count` times `each` numbers, behind those of `offset` times as many, are below 2^64, and
/// gives the first.
fn check_product(offset: u64, count: u64, each: u64) -> Result<u64, Error> {
    let (Some(more), Some(last)) = (count.checked_sub(1), each.checked_sub(1)) else {
        return Ok(0);
    };
    let first = offset.checked_mul(each).ok_or(Error::TooLarge)?;
    let end = more.checked_mul(each).and_then(|more| first.checked_add(more)?.checked_add(last));
    end.map(|_| first).ok_or(Error::TooLarge)
}

/// Checks that a length is a multiple of a size: zero, where that is zero.
fn check_multiple(argument: &'static str, size: usize, found: usize) -> Result<(), Error> {
    let whole = found.checked_div(size).unwrap_or(0).max(usize::from(found > 0));
    check_len(argument, whole.wrapping_mul(size), found)
}
