//! Tests across modules: golden fixtures, mathematical identities, training, and the rules of the code base.

mod aef_nets;
mod chemistry;
mod golden;
mod laws;
mod old_checkpoints;
mod packed;
mod public_names;
mod support;
mod tidy;
