//! Commands, one file each.

pub mod generate;
