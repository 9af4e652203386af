//! Tests across modules: golden fixtures, laws of the mathematics, training, and the rules of the house.

mod aef_nets;
mod chemistry;
mod golden;
mod laws;
mod old_checkpoints;
mod support;
mod tidy;
