//! LayerNorm (section 10, one group whose γ differs from element to element) and RMSNorm (section
//! 14).

use super::batch_norm::{Affine, Constants, saved};
use super::moments::reduce;
use super::real::Real;
use super::reduction::{Block, Reduction, along, tree};

/// y, and one mean and rstd a row.
pub struct Forward {
    pub y: Vec<f32>,
    pub saved_mean: Vec<f32>,
    pub saved_rstd: Vec<f32>,
}

/// LayerNorm of rows that lie side by side.
pub fn layer_norm(len: usize, eps: f64, x: &[f32], affine: Affine<'_>) -> Forward {
    normalize(len, x, affine, |row| {
        let reduced = reduce(x, row);
        (saved(reduced, eps), Constants::of(reduced, eps))
    })
}

/// RMSNorm of rows that lie side by side.
pub fn rms_norm(len: usize, eps: f64, x: &[f32], gamma: Option<&[f32]>) -> Forward {
    normalize(len, x, Affine { gamma, beta: None }, |row| {
        let (squares, rescued) = sum_of_squares(x, row);
        let constants = Constants::of_mean_square(squares / len as f64, rescued, eps);
        ((0.0, constants.saved_rstd()), constants)
    })
}

fn normalize(
    len: usize,
    x: &[f32],
    affine: Affine<'_>,
    constants_of: impl Fn(&Reduction) -> ((f32, f32), Constants),
) -> Forward {
    let mut out = Forward { y: vec![0.0; x.len()], saved_mean: vec![], saved_rstd: vec![] };
    for start in (0..x.len()).step_by(len) {
        let row = along(std::slice::from_ref(&(start..start + len)));
        let ((mean, rstd), constants) = constants_of(&row);
        out.saved_mean.push(mean);
        out.saved_rstd.push(rstd);
        for i in 0..len {
            let (gamma, beta) = (affine.gamma(i), affine.beta(i));
            out.y[start + i] = constants.apply_each(x[start + i], gamma, beta);
        }
    }
    out
}

/// Σ x² in f64, and whether a block was rescued.
fn sum_of_squares(x: &[f32], row: &Reduction) -> (f64, bool) {
    let mut any_rescued = false;
    let sums: Vec<f64> = row
        .blocks
        .iter()
        .map(|block| {
            let narrow: f32 = squares(block, x);
            let any = block.elements().any(|i| x[i] != 0.0);
            let rescue = !narrow.is_finite() || (narrow < 2.0_f32.powi(-100) && any);
            any_rescued |= rescue;
            if rescue { squares(block, x) } else { narrow.into() }
        })
        .collect();
    (tree(&sums, &|a, b| a + b), any_rescued)
}

fn squares<F: Real>(block: &Block, x: &[f32]) -> F {
    let value = |i: usize| F::from_f32(x[i]);
    block.sum(|i| value(i) * value(i))
}
