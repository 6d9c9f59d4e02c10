//! Dead man's switches in the manner of healthchecks.io: `/start`, then `/EXIT CODE`; with 0 all is well.

use super::{LIMIT, Signal};
use crate::http::Http;

/// Longest summary that is sent along, in bytes; healthchecks.io keeps 100 kB.
const MOST: usize = 10_000;

pub fn signal(url: &str, signal: Signal, summary: &str) -> Result<(), String> {
    // A query of the address stays behind the path.
    let (base, query) = url.split_once('?').map_or((url, None), |(base, query)| (base, Some(query)));
    let end = match signal {
        Signal::Started => "start".to_owned(),
        Signal::Finished(code) => code.to_string(),
    };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let url = format!("{}/{end}{query}", base.trim_end_matches('/'));
    let cut = (0..=MOST.min(summary.len())).rev().find(|at| summary.is_char_boundary(*at)).unwrap_or(0);
    let answer = Http::new(LIMIT)
        .post(&url, &[("content-type", "text/plain; charset=utf-8")], &summary.as_bytes()[..cut])
        .map_err(|error| error.to_string())?;
    // healthchecks.io answers 200 to a check that it does not know, and says so.
    let said = String::from_utf8_lossy(&answer.body);
    match answer.ok() {
        true if said.contains("not found") => Err("the server knows no such check".to_owned()),
        true => Ok(()),
        false => Err(format!("the server answers {}", answer.status)),
    }
}
