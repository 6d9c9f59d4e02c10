//! What storages that are asked over HTTP have in common.

use std::time::Duration;

use bytes::Bytes;

use crate::http::{Answer, HttpError};

/// Longest list of files, in bytes.
pub(super) const LONGEST_LIST: u64 = 16 << 20;
/// Largest file: S3's own limit for one that is put at once.
pub(super) const LARGEST: u64 = 5 << 30;
/// Pauses before a request is made again.
const PAUSES: [Duration; 3] = [Duration::from_millis(300), Duration::from_secs(1), Duration::from_secs(3)];

/// Why a request did not do what it should.
pub(super) struct Refused(pub String);

/// Makes a request until it is answered: all of them may be made twice.
pub(super) fn patiently(mut send: impl FnMut() -> Result<Answer, HttpError>) -> Result<Answer, Refused> {
    let mut pauses = PAUSES.iter();
    loop {
        let answer = send();
        let again = match &answer {
            Ok(answer) => answer.status == 429 || answer.status >= 500,
            Err(_) => true,
        };
        match (again, pauses.next()) {
            (true, Some(pause)) => std::thread::sleep(*pause),
            _ => return answer.map_err(|error| Refused(error.to_string())),
        }
    }
}

/// The value of a `Range` header: so many bytes from an offset.
pub(super) fn range((offset, length): (u32, u32)) -> String {
    let from = u64::from(offset);
    format!("bytes={from}-{}", from + u64::from(length).saturating_sub(1))
}

/// What an answer with content holds of what was asked for.
pub(super) fn content(answer: Answer, range: Option<(u32, u32)>) -> Result<Bytes, Refused> {
    let all = Bytes::from(answer.body);
    match (answer.status, range) {
        (206, Some((_, length))) if all.len() == length as usize => Ok(all),
        (206, _) => Err(Refused("the storage sends another part than was asked for".to_owned())),
        (_, None) => Ok(all),
        // A server that knows no ranges sends everything.
        (_, Some((offset, length))) => {
            let (from, to) = (offset as usize, offset as usize + length as usize);
            match to <= all.len() {
                true => Ok(all.slice(from..to)),
                false => Err(Refused("it is shorter than it should be".to_owned())),
            }
        }
    }
}
