//! Mathematical identities, checked in float64.

mod aef;
mod aef_prior;
mod batch_size;
mod bijector;
mod calibration;
mod categorical_aef;
mod condition;
mod constraints;
mod count;
mod distillation;
mod dual;
mod flow_map;
mod graph;
mod kernels;
mod large_vocabulary;
mod objective;
mod observed;
mod precision;
mod record;
mod sampler;
mod sampler_order;
mod steer;
mod steer_failures;
mod together;
mod transport;
mod wiring;
