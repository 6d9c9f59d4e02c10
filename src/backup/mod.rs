//! Backups: pulled from the hosts, encrypted and deduplicated here, good only when whole.
//!
//! One repository a client, in restic's format, written by the operator alone; a host holds no key to
//! it. What comes from a host is a stream that is proved by its own end; the commit gate lets no
//! snapshot pass before everything in it was. Reading needs no lock; writing holds the client's.

mod archive;
mod around;
mod bucket;
mod client;
mod error;
mod files;
mod folder;
mod gate;
mod host;
pub mod keep;
mod ledger;
pub mod manifest;
mod place;
pub mod prove;
mod read;
mod repository;
mod restore;
pub mod retention;
mod server;
pub mod state;
mod storage;
mod stream;
mod throttle;
mod verify;

pub use archive::{Content, Fill, Piece, Source, Written, write};
pub use bucket::Bucket;
pub use client::ClientBackup;
pub use error::BackupError;
pub use gate::Gate;
pub use host::{Dumped, HostSource, What};
pub use manifest::Manifest;
pub use place::{Place, Store};
pub use read::Appending;
pub use repository::{Browser, Repository, Snapshot, shown};
pub use restore::{Opened, Picked, Shelf};
pub use server::Rest;
pub use state::State;
pub use stream::{Judge, Line, Stream, must_succeed, remote};
pub use throttle::Throttle;
pub use verify::{Depth, Verified, verify};

#[cfg(test)]
mod tests;
