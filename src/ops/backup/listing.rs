//! Which files a host has below some folders, in one answer. A host is not believed: a path that
//! leaves its folder, or that comes twice, refuses the whole answer.

use std::collections::HashSet;

use super::super::Layout;
use super::GONE;
use crate::shell::{Cmd, quote};

/// Longest path that is taken, in bytes.
const LONGEST_PATH: usize = 4096;

/// A folder to be saved: where it goes in the backup, and how the host finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Folder {
    /// What serves now: rendered files and source.
    Release,
    /// A named volume of the Compose file.
    Volume(String),
    /// Below `/opt/STACK`, or absolute.
    Path(String),
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub kind: Kind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    /// Nanoseconds since the epoch.
    pub mtime: i128,
    pub ctime: i128,
    pub inode: u64,
    /// Where it goes in the backup, without a leading slash.
    pub path: Vec<u8>,
    /// Where it is on the host.
    pub source: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Folder,
    Link(Vec<u8>),
    /// Socket, pipe or device: not saved.
    Other,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Backup path and real path on the host of each folder.
    pub roots: Vec<(String, String)>,
    /// In the order of their paths, component by component.
    pub found: Vec<Found>,
    /// Sockets, pipes and devices that were passed over.
    pub others: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListingError {
    #[error("the list of files was cut")]
    Cut,
    #[error("the list of files makes no sense at byte {0}")]
    Nonsense(usize),
    #[error("the host names a file whose path leaves its folder: {0:?}")]
    Leaves(String),
    #[error("the host names a file twice, or one below something that is no folder: {0:?}")]
    Twice(String),
}

impl Folder {
    /// Where it goes in the backup.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Folder::Release => "files/release".to_owned(),
            Folder::Volume(name) => format!("files/volumes/{name}"),
            Folder::Path(path) => format!("files/folders/{}", path.trim_start_matches('/')),
        }
    }

    /// Shell text that sets `$at` to its real path, or fails with a sentence.
    pub(super) fn find(&self, layout: &Layout) -> String {
        let (look, missing) = match self {
            Folder::Release => (
                format!("readlink -e {}", quote(&layout.at("current"))),
                "no release serves on this host".to_owned(),
            ),
            Folder::Volume(name) => (
                format!(
                    "docker volume inspect --format '{{{{.Mountpoint}}}}' {}",
                    quote(&format!("{}_{name}", layout.stack))
                ),
                format!("this host has no volume {name}"),
            ),
            Folder::Path(path) => {
                let full = if path.starts_with('/') { path.clone() } else { layout.at(path) };
                (format!("readlink -e {}", quote(&full)), format!("this host has no folder {full}"))
            }
        };
        format!(
            "at=$({look} 2>/dev/null) && [ -d \"$at\" ] || {{ echo {} >&2; exit 66; }}\n",
            quote(&format!("fleet: {missing}"))
        )
    }
}

/// Lists what is below the folders, without following links or leaving their file systems.
#[must_use]
pub fn list(layout: &Layout, folders: &[Folder]) -> Cmd {
    let mut text = "set -u\nexport LC_ALL=C\nstatus=0\n".to_owned();
    for folder in folders {
        text.push_str(&folder.find(layout));
        text.push_str(&format!(
            "printf 'R\\0%s\\0%s\\0' {} \"$at\"\nfind \"$at\" -xdev -mindepth 1 -printf '%y %m %U %G %s %T@ %C@ %i\\0%P\\0%l\\0' || status=$?\n",
            quote(&folder.place())
        ));
    }
    text.push_str("printf 'E\\0'\nexit $status\n");
    Cmd::script(text, Vec::<String>::new()).sudo()
}

/// Whether all that tar or find complained of is that something is there no more.
#[must_use]
pub fn only_vanished(stderr: &[u8]) -> bool {
    let text = String::from_utf8_lossy(stderr);
    let mut lines = text.lines().filter(|line| !line.contains("Exiting with failure status")).peekable();
    lines.peek().is_some() && lines.all(|line| GONE.iter().any(|gone| line.ends_with(gone)) || harmless(line))
}

/// tar says these of a file that is written to while it is read; the count of its bytes tells.
fn harmless(line: &str) -> bool {
    line.ends_with("file changed as we read it")
        || line.contains(": File shrank by ")
        || line.ends_with(": socket ignored")
}

/// Reads the answer to [`list`].
///
/// # Errors
/// An answer that is cut, makes no sense or names what must not be named.
pub fn read(answer: &[u8]) -> Result<Listing, ListingError> {
    let mut fields = Fields { rest: answer, at: 0 };
    let mut listing = Listing::default();
    loop {
        let start = fields.at;
        let nonsense = ListingError::Nonsense(start);
        match fields.next()? {
            b"E" => break,
            b"R" => {
                let (place, real) = (text(fields.next()?), text(fields.next()?));
                listing.roots.push((place.ok_or(nonsense.clone())?, real.ok_or(nonsense)?));
            }
            head => {
                let (path, target) = (fields.next()?, fields.next()?);
                let (place, real) = listing.roots.last().ok_or(nonsense.clone())?;
                let mut found = parse(head, target).ok_or(nonsense)?;
                if !stays(path) {
                    return Err(ListingError::Leaves(shown(path)));
                }
                found.path = [place.as_bytes(), b"/", path].concat();
                found.source = [real.as_bytes(), b"/", path].concat();
                match found.kind {
                    Kind::Other => listing.others += 1,
                    _ => listing.found.push(found),
                }
            }
        }
    }
    if !fields.rest.is_empty() {
        return Err(ListingError::Nonsense(fields.at));
    }
    listing.found.sort_by(|a, b| parts(&a.path).cmp(parts(&b.path)));
    consistent(&listing.found)?;
    Ok(listing)
}

fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
}

/// Nothing comes twice, and nothing is below what is no folder.
fn consistent(found: &[Found]) -> Result<(), ListingError> {
    let plain: HashSet<&[u8]> =
        found.iter().filter(|one| one.kind != Kind::Folder).map(|one| one.path.as_slice()).collect();
    for (index, one) in found.iter().enumerate() {
        let twice = index > 0 && found[index - 1].path == one.path;
        let ends = one.path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        if twice || ends.into_iter().any(|end| plain.contains(&one.path[..end])) {
            return Err(ListingError::Twice(shown(&one.path)));
        }
    }
    Ok(())
}

/// A relative path without empty, `.` or `..` components.
fn stays(path: &[u8]) -> bool {
    let fine = |part: &[u8]| !part.is_empty() && part != b"." && part != b".." && part.len() <= 255;
    !path.is_empty() && path.len() <= LONGEST_PATH && parts(path).all(fine)
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().take(200).collect()
}

fn text(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

fn parse(head: &[u8], target: &[u8]) -> Option<Found> {
    let head = std::str::from_utf8(head).ok()?;
    let fields: Vec<&str> = head.split(' ').collect();
    let [kind, mode, uid, gid, size, mtime, ctime, inode] = fields.as_slice() else { return None };
    Some(Found {
        kind: match *kind {
            "f" => Kind::File,
            "d" => Kind::Folder,
            "l" => Kind::Link(target.to_vec()),
            "p" | "s" | "b" | "c" | "D" => Kind::Other,
            _ => return None,
        },
        mode: u32::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o7777)?,
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
        size: size.parse().ok()?,
        mtime: nanoseconds(mtime)?,
        ctime: nanoseconds(ctime)?,
        inode: inode.parse().ok()?,
        path: Vec::new(),
        source: Vec::new(),
    })
}

/// `1699999999.1234567890`, as find prints it.
fn nanoseconds(text: &str) -> Option<i128> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos: i128 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    let whole: i128 = i128::from(seconds.parse::<i64>().ok()?) * 1_000_000_000;
    Some(if seconds.starts_with('-') { whole - nanos } else { whole + nanos })
}

struct Fields<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<&'a [u8], ListingError> {
        let end = self.rest.iter().position(|byte| *byte == 0).ok_or(ListingError::Cut)?;
        let field = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        self.at += end + 1;
        Ok(field)
    }
}
