//! What is checked before anything is written.

use super::{BatchNorm, Gradients, Running, Saved};
use crate::Error;
use crate::error::{check_eps, check_len, check_optional};

impl BatchNorm {
    /// Checks the options of a training pass and gives the factor of the new running statistics.
    pub(super) fn check_training(&self, running: Option<&Running<'_>>) -> Result<f32, Error> {
        check_eps(self.eps)?;
        if running.is_some() { self.momentum.factor() } else { Ok(0.0) }
    }

    pub(super) fn check_affine(
        &self,
        gamma: Option<&[f32]>,
        beta: Option<&[f32]>,
    ) -> Result<(), Error> {
        check_optional("gamma", self.layout.channels(), gamma)?;
        check_optional("beta", self.layout.channels(), beta)
    }

    pub(super) fn check_statistics(
        &self,
        running: Option<&Running<'_>>,
        saved: Option<&Saved<'_>>,
    ) -> Result<(), Error> {
        let channels = self.layout.channels();
        if let Some(running) = running {
            check_len("running_mean", channels, running.mean.len())?;
            check_len("running_var", channels, running.var.len())?;
        }
        saved.map_or(Ok(()), |saved| saved.check(channels))
    }

    pub(super) fn check_given(
        &self,
        gamma: Option<&[f32]>,
        beta: Option<&[f32]>,
        mean: &[f32],
        var: &[f32],
    ) -> Result<(), Error> {
        self.check_affine(gamma, beta)?;
        check_len("mean", self.layout.channels(), mean.len())?;
        check_len("var", self.layout.channels(), var.len())
    }

    pub(super) fn check_backward(
        &self,
        dy: &[f32],
        x: &[f32],
        gamma: Option<&[f32]>,
    ) -> Result<(), Error> {
        check_len("dy", self.layout.len(), dy.len())?;
        check_len("x", self.layout.len(), x.len())?;
        check_optional("gamma", self.layout.channels(), gamma)
    }

    pub(super) fn check_gradients(&self, gradients: &Gradients<'_>) -> Result<(), Error> {
        check_optional("dx", self.layout.len(), gradients.x.as_deref())?;
        check_optional("dgamma", self.layout.channels(), gradients.gamma.as_deref())?;
        check_optional("dbeta", self.layout.channels(), gradients.beta.as_deref())
    }
}
