//! What leaves for Sentry: errors of this program.

pub mod deliver;
pub mod own;
