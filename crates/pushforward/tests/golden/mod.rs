//! Comparison with numerical fixtures from published code and closed forms; skipped where they are absent.

mod aef;
mod aef_closed_form;
mod ddit;
mod dual;
mod flows;
mod graph_transformer;
mod losses;
mod metrics;
mod oracle;
