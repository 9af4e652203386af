//! Comparison with numerical fixtures from published code and closed forms; skipped where they are absent.

mod ddit;
mod dual;
mod losses;
mod metrics;
mod oracle;
