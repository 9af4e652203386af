//! Models whose samples can be steered towards a reward.

use burn::tensor::Device;

use crate::flow_map::sample::{SampleRequest, Samples};
use crate::flow_map::steer::{Reward, SteerError, SteerRequest, Steered};
use crate::ranks::Ranks;
use crate::run::trained::RequestError;

/// Why steering failed.
#[derive(Debug, thiserror::Error)]
pub enum SteerFailure {
    /// The request does not fit the model.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Steering failed.
    #[error(transparent)]
    Steer(#[from] SteerError),
}

/// A model that draws items and steers them. Items of an autoencoder of images are the 256 levels of its pixels.
pub trait Steers {
    /// Draws items without steering.
    ///
    /// # Errors
    /// If the request does not fit the model.
    fn plain(&self, request: &SampleRequest, progress: &mut dyn FnMut(usize) -> bool) -> Result<Samples, RequestError>;

    /// Draws items of high reward by several ranks, of which all get all items.
    ///
    /// # Errors
    /// If the request does not fit the model, the reward fails before any sample is finished, or the ranks
    /// cannot go on together.
    fn steered(
        &self,
        request: &SteerRequest,
        reward: &dyn Reward,
        ranks: &Ranks,
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Steered, SteerFailure>;

    /// As [`Self::steered`], by this process alone.
    ///
    /// # Errors
    /// Likewise.
    fn steer(
        &self,
        request: &SteerRequest,
        reward: &dyn Reward,
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Steered, SteerFailure> {
        self.steered(request, reward, &Ranks::alone(), progress)
    }

    /// Device of the weights.
    fn device(&self) -> &Device;
}
