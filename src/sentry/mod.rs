//! Sentry, and what speaks like it: the API that the operator asks, the door that events go in by, and what leaves
//! for it: errors of this program, its runs, releases and deploys.
//!
//! Rules of this room:
//! 1. A token or the key of a DSN is in no error and in no word that is shown.
//! 2. What a server says is data: bounded, cleaned, and believed in nothing that it need not be asked.
//! 3. Nothing here waits longer than its caller allows; what a server asks to wait for is told.
//!
//! `api` makes requests, `limits` reads what a server says of too many of them, `ingest` posts envelopes as an
//! application does, `reading` asks for projects, keys and events, `provision` makes a project. `own` tells of errors
//! of this program, `crons` of its runs, `telling` of releases and deploys (`ledger` remembers which, so that each
//! is told once); `deliver` posts many envelopes in a bounded time.

mod api;
pub mod commits;
pub mod crons;
pub mod deliver;
mod ingest;
pub mod ledger;
mod limits;
pub mod monitors;
pub mod own;
mod provision;
mod reading;
pub mod releases;
pub mod telling;

pub use api::{Api, ApiError, Kind, Purpose};
pub use ingest::{Item, PostError, Posted, TestEvent, post};
pub use limits::pause;
pub use provision::{Made, SetupError, Wanted};
pub use reading::{Key, Project, Seen, Whereabouts};
