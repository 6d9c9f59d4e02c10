//! Standard output for data.
//!
//! Rule of this file: a reader that goes away (`| head`) is a quiet end and not a fault. Any other
//! failure to write is reported, because data that was asked for is missing.

use std::io::{self, ErrorKind, Write};

/// A writer that swallows what follows a closed pipe.
pub struct Out {
    sink: Box<dyn Write + Send>,
    closed: bool,
}

impl Out {
    #[must_use]
    pub fn stdout() -> Self {
        Out::new(Box::new(io::stdout()))
    }

    #[must_use]
    pub fn new(sink: Box<dyn Write + Send>) -> Self {
        Out { sink, closed: false }
    }

    /// The reader is gone: what produces endless data may stop.
    #[must_use]
    pub fn closed(&self) -> bool {
        self.closed
    }

    /// Writes one line.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        // One write, so that lines of several writers to one pipe do not mix.
        self.write_all(format!("{text}\n").as_bytes())
    }

    fn or_closed<T>(&mut self, result: io::Result<T>, instead: T) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(instead)
            }
            result => result,
        }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.closed {
            return Ok(bytes.len());
        }
        let result = self.sink.write(bytes);
        self.or_closed(result, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        let result = self.sink.flush();
        self.or_closed(result, ())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A sink that fails with `error` once `room` bytes are taken.
    #[derive(Clone)]
    pub struct Sink {
        pub taken: Arc<Mutex<Vec<u8>>>,
        pub room: usize,
        pub error: ErrorKind,
    }

    impl Sink {
        pub fn new(room: usize, error: ErrorKind) -> Self {
            Sink { taken: Arc::default(), room, error }
        }

        pub fn text(&self) -> String {
            String::from_utf8(self.taken.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut taken = self.taken.lock().unwrap();
            if taken.len() + bytes.len() > self.room {
                return Err(self.error.into());
            }
            taken.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_a_quiet_end() {
        let sink = Sink::new(8, ErrorKind::BrokenPipe);
        let mut out = Out::new(Box::new(sink.clone()));
        for _ in 0..3 {
            out.line("12345").unwrap();
        }
        out.flush().unwrap();
        assert!(out.closed());
        assert_eq!(sink.text(), "12345\n");
    }

    #[test]
    fn a_full_disk_is_not() {
        let mut out = Out::new(Box::new(Sink::new(0, ErrorKind::StorageFull)));
        assert_eq!(out.line("x").unwrap_err().kind(), ErrorKind::StorageFull);
        assert!(!out.closed());
    }
}
