//! What to say to a host: each function makes a [`Cmd`](crate::shell::Cmd), nothing here runs one.
//!
//! Every text sent is POSIX `sh` and works under dash on Debian 12 and 13 and Ubuntu 22.04 and
//! 24.04. What a command answers is parsed beside the function that asks.

pub mod apt;
pub mod away;
pub mod backup;
pub mod certbot;
pub mod compose;
pub mod doctor;
pub mod files;
pub mod hook;
pub mod host;
pub mod lease;
pub mod login;
pub mod logs;
pub mod migration;
pub mod outside;
pub mod postgres;
pub mod probe;
pub mod purge;
pub mod release;
pub mod rollout;
pub mod schedule;
pub mod ship;
mod sql;

/// Where things are on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    pub stack: String,
}

impl Layout {
    #[must_use]
    pub fn new(stack: &str) -> Self {
        Layout { stack: stack.to_owned() }
    }

    #[must_use]
    pub fn base(&self) -> String {
        format!("/opt/{}", self.stack)
    }

    #[must_use]
    pub fn at(&self, path: &str) -> String {
        format!("/opt/{}/{path}", self.stack)
    }

    #[must_use]
    pub fn release(&self, id: &str) -> String {
        self.at(&format!("releases/{id}"))
    }

    #[must_use]
    pub fn source(&self, id: &str) -> String {
        self.at(&format!("releases/{id}/source"))
    }
}
