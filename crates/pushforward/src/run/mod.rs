//! Where recipe, data and family meet: recipes are read and checked, models trained, loaded and measured.

pub mod check;
pub mod evaluate;
pub mod load;
pub mod recipe;
mod request;
