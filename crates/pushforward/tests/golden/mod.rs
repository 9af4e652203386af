//! Comparison with numerical fixtures from published code and closed forms: those of `tests/fixtures`, or of the folder that
//! `PUSHFORWARD_GOLDEN` names.

mod aef;
mod aef_closed_form;
mod ddit;
mod dual;
mod fixtures;
mod flows;
mod graph_transformer;
mod losses;
mod metrics;
mod oracle;
