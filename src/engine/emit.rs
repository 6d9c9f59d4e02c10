//! Events leave here, stamped, in one stream.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use crate::event::{Event, EventKind, SCHEMA};

type Clock = dyn Fn() -> String + Send + Sync;

#[derive(Clone)]
pub struct Emitter {
    run: Arc<str>,
    sender: UnboundedSender<Event>,
    clock: Arc<Clock>,
}

impl Emitter {
    pub fn new(
        run: &str,
        sender: UnboundedSender<Event>,
        clock: impl Fn() -> String + Send + Sync + 'static,
    ) -> Self {
        Emitter { run: run.into(), sender, clock: Arc::new(clock) }
    }

    pub fn emit(&self, client: Option<&str>, kind: EventKind) {
        let event = Event {
            schema: SCHEMA.into(),
            at: (self.clock)(),
            run: self.run.to_string(),
            client: client.map(str::to_owned),
            kind,
        };
        // The receiver is gone only when the program is about to end.
        let _ = self.sender.send(event);
    }
}
