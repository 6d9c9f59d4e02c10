//! What the master tells on its standard error, a line at a time (`LogLevel=DEBUG1`): how far it is,
//! which key the host showed, and why it gave up.

use std::collections::VecDeque;

use super::super::error::Stage;

/// Lines that are no progress reports, newest last.
const KEPT: usize = 60;

/// Read so far.
#[derive(Clone, Debug)]
pub struct Said {
    pub lines: VecDeque<String>,
    /// Fingerprint of the host's key.
    pub host_key: String,
    /// It was written down just now.
    pub recorded: bool,
    /// It should have been, and could not.
    pub unrecorded: Option<String>,
    pub stage: Stage,
    /// The command that leads to the host in place of a TCP connection.
    pub proxy: Option<String>,
    /// The host itself has greeted.
    pub greeted: bool,
    /// The session stands and its socket is there.
    pub ready: bool,
}

impl Default for Said {
    fn default() -> Self {
        Said {
            lines: VecDeque::new(),
            host_key: String::new(),
            recorded: false,
            unrecorded: None,
            stage: Stage::Lookup,
            proxy: None,
            greeted: false,
            ready: false,
        }
    }
}

impl Said {
    pub fn take(&mut self, line: &str) {
        let line = line.trim_end();
        let report = line.strip_prefix("debug1: ").filter(|report| !report.contains(": banner line 0: "));
        let Some(report) = report else {
            // Its farewell statistics say nothing of why.
            if line.starts_with("Transferred: ") || line.starts_with("Bytes per second: ") {
                return;
            }
            if line.starts_with("Failed to add the host to the list of known hosts") {
                self.unrecorded = Some("a new host key cannot be written to it".to_owned());
            } else if line.starts_with("Warning: Permanently added ") {
                // That of a jump host comes before we see a key.
                self.recorded = !self.host_key.is_empty();
                return;
            }
            if !line.is_empty() {
                self.lines.push_back(line.to_owned());
                if self.lines.len() > KEPT {
                    self.lines.pop_front();
                }
            }
            return;
        };
        // A chain's inner hops come first, so the last key is the host's own.
        if let Some(key) = report.strip_prefix("Server host key: ") {
            self.host_key = key.split(' ').nth(1).unwrap_or_default().to_owned();
        } else if report.starts_with("Connecting to ") {
            self.stage = Stage::Connect;
        } else if let Some(command) = report.strip_prefix("Executing proxy command: ") {
            (self.stage, self.proxy) = (Stage::Connect, Some(command.to_owned()));
        } else if report.starts_with("Connection established") {
            self.stage = Stage::Handshake;
        } else if report.starts_with("Remote protocol version") {
            (self.stage, self.greeted) = (Stage::Handshake, true);
        } else if report.starts_with("SSH2_MSG_SERVICE_ACCEPT") || report.starts_with("Will attempt key") {
            self.stage = Stage::Login;
        } else if report.starts_with("Entering interactive session") {
            self.ready = true;
        }
    }

    /// The last thing said, for a connection that went away.
    pub fn end(&self) -> Option<String> {
        let line = self.lines.back()?;
        Some(super::super::clean::line(line).trim_end_matches('.').to_owned())
    }
}
