//! Laws of the mathematics, checked in float64.

mod dual;
