//! What leaves for Sentry, by the real program against servers that are really there: Kent, which keeps whatever it
//! is sent, a stub of the API that the official client speaks to as well, and some that answer badly, never, or not
//! at all.

mod crons;
#[path = "../support/http.rs"]
mod http;
mod kent;
mod own;
mod releases;
#[path = "../support/sshd.rs"]
#[expect(dead_code, reason = "shared with the tests of ssh, which use more of it")]
mod sshd;
mod stub;
#[path = "../cli/support.rs"]
#[expect(dead_code, reason = "shared with the tests of the command line, which use more of it")]
mod support;
