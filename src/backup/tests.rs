//! Backups without a host: what a source may do wrong, and what must never become of it.

mod keeping;
mod raw;
mod restoring;
mod rig;
mod truth;
