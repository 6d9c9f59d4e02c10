//! The program as its users meet it: the real binary, its words, its exit codes.

mod bad_input;
mod help;
mod life;
mod poison;
mod registry;
mod secrets;
mod streams;
mod support;
