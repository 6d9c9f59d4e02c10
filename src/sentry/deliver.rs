//! Many envelopes to Sentry, in a bounded time.
//!
//! Rule of this file: it ends in time. What does not answer is left behind, and nothing waits for it: not
//! this call, nor the end of the program.

use std::collections::VecDeque;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::ingest::{Item, PostError, post};
use crate::http::Http;
use crate::registry::values::Dsn;

/// Requests at once.
const WIDTH: usize = 8;

/// What became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// By their place in what was given: those that the server took.
    pub sent: Vec<usize>,
    /// Why the others were not; never with an address or a key in it.
    pub why: Option<String>,
}

/// Posts each in an envelope of its own, and gives up on all that were not taken within `limit` in all.
#[must_use]
pub fn deliver(dsn: &Dsn, items: Vec<Item<'static>>, limit: Duration) -> Delivered {
    let (ends, total) = (Instant::now() + limit, items.len());
    let queue: VecDeque<_> = items.into_iter().enumerate().collect();
    let queue = Arc::new(Mutex::new(queue));
    let (tell, heard) = channel();
    for _ in 0..WIDTH.min(total) {
        let (queue, tell, dsn) = (Arc::clone(&queue), tell.clone(), dsn.clone());
        let work = move || {
            let http = Http::new(limit);
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some((place, item)) = next else { return };
                if tell.send((place, send(&http, &dsn, &item))).is_err() {
                    return;
                }
            }
        };
        // Where no thread can be had, those that run do the work.
        let _ = std::thread::Builder::new().name("sentry".to_owned()).spawn(work);
    }
    drop(tell);
    let forget = || queue.lock().unwrap_or_else(PoisonError::into_inner).clear();
    let mut done = Delivered::default();
    loop {
        match heard.recv_timeout(ends.saturating_duration_since(Instant::now())) {
            Ok((place, Ok(()))) => done.sent.push(place),
            Ok((_, Err(refusal))) => {
                // What is refused to one for no fault of its own is refused to all: no storm.
                if !refusal.only_this {
                    forget();
                }
                done.why.get_or_insert(refusal.why);
            }
            Err(RecvTimeoutError::Timeout) => {
                forget();
                done.why.get_or_insert_with(|| format!("{}: no answer in time", dsn.host()));
                break;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    if done.sent.len() < total {
        done.why.get_or_insert_with(|| "nothing could be sent".to_owned());
    }
    done.sent.sort_unstable();
    done
}

struct Refusal {
    why: String,
    /// The next one may be taken.
    only_this: bool,
}

fn send(http: &Http, dsn: &Dsn, item: &Item<'_>) -> Result<(), Refusal> {
    let posted =
        post(http, dsn, item.body["event_id"].as_str(), std::slice::from_ref(item), Timestamp::now());
    posted.map(drop).map_err(|error| Refusal {
        only_this: matches!(error, PostError::Odd { status: 400 | 413, .. }),
        why: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A server that counts its requests and answers each by its number; nothing means silence.
    fn server(answer: impl Fn(usize) -> Option<u16> + Send + Sync + 'static) -> (Dsn, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let dsn = format!("http://key7@127.0.0.1:{}/42", listener.local_addr().unwrap().port());
        let (seen, answer) = (Arc::new(AtomicUsize::new(0)), Arc::new(answer));
        let count = Arc::clone(&seen);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (count, answer) = (Arc::clone(&count), Arc::clone(&answer));
                std::thread::spawn(move || {
                    let mut buffer = [0; 8192];
                    while let Ok(1..) = stream.read(&mut buffer) {
                        let Some(status) = answer(count.fetch_add(1, Ordering::SeqCst)) else { continue };
                        let said =
                            format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                        let _ = stream.write_all(said.as_bytes());
                        return;
                    }
                });
            }
        });
        (Dsn::parse(&dsn).unwrap(), seen)
    }

    fn items(count: usize) -> Vec<Item<'static>> {
        let body = |n: usize| serde_json::json!({ "event_id": n.to_string() });
        (0..count).map(|n| Item { kind: "event", category: "error", body: body(n) }).collect()
    }

    const LIMIT: Duration = Duration::from_secs(20);

    #[test]
    fn all_of_many_arrive() {
        let (dsn, seen) = server(|_| Some(200));
        let done = deliver(&dsn, items(90), LIMIT);
        assert_eq!(done, Delivered { sent: (0..90).collect(), why: None });
        assert_eq!(seen.load(Ordering::SeqCst), 90);
    }

    #[test]
    fn a_server_that_is_silent_costs_the_limit_and_no_more() {
        let (dsn, _) = server(|_| None);
        let (limit, began) = (Duration::from_millis(300), Instant::now());
        let done = deliver(&dsn, items(50), limit);
        assert!(began.elapsed() < limit + Duration::from_secs(2), "{:?}", began.elapsed());
        assert_eq!(
            done,
            Delivered { sent: Vec::new(), why: Some(format!("{}: no answer in time", dsn.host())) }
        );
    }

    #[test]
    fn a_refusal_of_all_is_heard_and_one_of_a_single_item_stops_nobody() {
        let (dsn, seen) = server(|_| Some(429));
        let done = deliver(&dsn, items(500), LIMIT);
        assert_eq!(
            done.why.as_deref(),
            Some(
                format!("{} takes nothing for 60 s: a rate limit or the quota is reached", dsn.host())
                    .as_str()
            )
        );
        assert!(seen.load(Ordering::SeqCst) < 100, "a storm of {}", seen.load(Ordering::SeqCst));
        let (dsn, _) = server(|n| Some(if n == 3 { 413 } else { 200 }));
        let done = deliver(&dsn, items(20), LIMIT);
        assert_eq!(
            (done.sent.len(), done.why.as_deref()),
            (19, Some(format!("{} answers 413 to an event", dsn.host()).as_str()))
        );
    }

    #[test]
    fn why_names_no_key_and_nothing_is_no_failure() {
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dsn = Dsn::parse(&format!("http://key7@127.0.0.1:{gone}/42")).unwrap();
        let done = deliver(&dsn, items(3), LIMIT);
        assert_eq!(done.why.as_deref(), Some(format!("{}: the connection is refused", dsn.host()).as_str()));
        assert_eq!(deliver(&dsn, Vec::new(), LIMIT), Delivered::default());
    }
}
