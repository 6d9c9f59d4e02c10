//! `fleet` runs the same application for many clients, each on a server of its own.
//!
//! Data flows one way: `clients.toml` + stack + secrets -> [`registry`] -> [`stack`] -> [`facts`]
//! -> [`plan`] -> [`engine`] -> [`event`] -> [`ui`]. The rooms up to `event` are pure: no files,
//! no clock, no sockets, so that they are tested as values. `tests/laws.rs` keeps it that way.

pub mod check;
pub mod diagnostic;
pub mod doctor;
pub mod due;
pub mod hint;
pub mod registry;
pub mod secret;
pub mod shell;
pub mod stack;
pub mod status;
pub mod toml_reader;
pub mod words;

pub mod event;
pub mod facts;
pub mod logs;
pub mod ops;
pub mod plan;

pub mod backup;
pub mod engine;
pub mod fs_atomic;
pub mod held;
pub mod http;
pub mod keys;
pub mod notify;
pub mod sentry;
pub mod ship;
pub mod source;
pub mod ssh;
pub mod stack_source;
pub mod vault;

pub mod cli;
pub mod ui;
