//! The engine: one thread owns the models and computes what is asked for, requests of equal settings together.

mod job;
mod run;
mod single;

pub(crate) use self::job::{Event, Job, Refusal, Task};
pub(crate) use self::run::run;
pub(crate) use self::single::latent;
