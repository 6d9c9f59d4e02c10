//! fleet on real hosts: the real binary against the servers of `scripts/lab.sh`.
//!
//! Rule of this room: a scenario takes the hosts it needs (`town()` or a host of its own), says in
//! each assertion what was promised, and leaves its hosts well, so that scenarios can run in any
//! order and one that fails tells the truth about itself alone.

mod kit;

mod any_stack;
mod backup;
mod boundaries;
mod certificate;
mod check;
mod cuts;
mod deploys;
mod doctor;
mod fault_table;
mod hooks;
mod lease;
mod logs;
mod prove;
mod provider;
mod provision;
mod pull;
mod reach;
mod rebuild;
mod restore;
mod rollout;
mod secrets;
mod sentry;
mod ship;
mod street;
mod terminal;
mod watch;
