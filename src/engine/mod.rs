//! Carries plans out and emits what happens.

pub mod journal;
