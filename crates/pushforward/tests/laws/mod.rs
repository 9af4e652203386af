//! Laws of the mathematics, checked in float64.

mod distillation;
mod dual;
mod flow_map;
mod objective;
mod sampler;
mod sampler_order;
mod wiring;
