//! Comparison with numerical fixtures from published code and closed forms; skipped where they are absent.

mod dual;
mod metrics;
