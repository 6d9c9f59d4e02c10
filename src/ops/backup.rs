//! What a backup asks of a host: streams on standard output, nothing written there.
//!
//! A stream begins with a line that names its packing, and is the packed output of one program. How
//! that program ended is the exit code of the whole, which a pipe alone would swallow.

mod dump;
mod listing;
pub mod prove;
pub mod restore;

pub use super::outside::Outside;
pub use dump::{Facts, Rows, inside, outside, roles};
pub use listing::{Folder, Found, Kind, Listing, ListingError, list, only_vanished, read};

use crate::shell::Cmd;

/// The line that a stream begins with.
pub const HEAD: &str = "fleet-stream ";
/// The only error of tar and find that is no fault: something was deleted while they looked.
const GONE: [&str; 2] = ["No such file or directory", "File removed before we read it"];

/// How a stream is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    Zstd,
    Gzip,
}

impl Packing {
    /// From the first line of a stream, without its end.
    #[must_use]
    pub fn of(line: &str) -> Option<Packing> {
        match line.strip_prefix(HEAD)? {
            "zstd" => Some(Packing::Zstd),
            "gzip" => Some(Packing::Gzip),
            _ => None,
        }
    }
}

/// Shell text that runs `program` and sends its output, packed. Both packings carry a checksum, so
/// that a stream which was cut does not unpack.
fn packed(program: &str) -> String {
    format!(
        "if command -v zstd >/dev/null 2>&1; then
    echo '{HEAD}zstd'
    pack() {{ zstd -1 -q -c --check; }}
else
    echo '{HEAD}gzip'
    pack() {{ gzip -1 -c; }}
fi
exec 4>&1
status=$({{ {{ s=0; {program} 3>&- 4>&- || s=$?; echo \"$s\" >&3; }} | pack 3>&- >&4; }} 3>&1)
exit \"$status\""
    )
}

/// Reads files whose absolute paths come on standard input, each ended by a NUL, as one tar stream
/// in that order.
#[must_use]
pub fn read_files(paths: Vec<u8>) -> Cmd {
    let tar = packed(
        "tar --create --file=- --format=gnu --absolute-names --no-recursion --hard-dereference --null --files-from=-",
    );
    let script = format!("set -eu\nexport LC_ALL=C\n{tar}");
    Cmd::new(["sh", "-c", script.as_str()]).stdin(crate::shell::Stdin::Public(paths)).sudo()
}

#[cfg(test)]
mod tests;
