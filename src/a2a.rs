//! The A2A protocol beyond its schema: what is required, how 0.3 maps to 1.0, what peers write that neither
//! version defines, and how cards are rewritten.

pub mod card;
pub mod lenient;
pub mod parse;
pub mod problem;
pub mod required;
pub mod v0_3;
