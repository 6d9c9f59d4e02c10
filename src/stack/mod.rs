//! stack.toml: what makes fleet serve any application.
//!
//! Rule of this room: pure. A stack comes in as bytes by path, a release goes out as bytes by
//! destination; no application is known here, only what its folder says.

mod schema;

pub use schema::*;
