//! The program as its users meet it: the real binary, its words, its exit codes.

mod bad_input;
mod build_once;
mod check;
mod doctor;
mod fanout;
mod help;
mod hosts;
#[path = "../support/http.rs"]
#[expect(dead_code, reason = "the tests of releases ask for pages")]
mod http;
mod life;
mod notify;
mod poison;
mod registry;
mod restore;
mod runs;
mod secrets;
mod sentry;
#[path = "../support/sshd.rs"]
#[expect(dead_code, reason = "shared with the tests of ssh, which use more of it")]
mod sshd;
mod streams;
mod support;
mod tails;
