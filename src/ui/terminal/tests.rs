use std::time::Duration;

use super::super::demo;
use super::super::style::tests::look;
use super::*;

/// A terminal that keeps what it shows, and all that was ever written to it.
#[derive(Clone)]
struct Fake {
    parser: Arc<Mutex<vt100::Parser>>,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Fake {
    fn new(columns: u16, rows: u16) -> Self {
        let parser = Arc::new(Mutex::new(vt100::Parser::new(rows, columns, 1000)));
        Fake { parser, written: Arc::default() }
    }

    fn shows(&self) -> String {
        let parser = self.parser.lock().unwrap();
        let (_, columns) = parser.screen().size();
        let rows: Vec<String> =
            parser.screen().rows(0, columns).map(|row| row.trim_end().to_owned()).collect();
        rows.join("\n").trim_end().to_owned()
    }
}

impl Write for Fake {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.parser.lock().unwrap().process(bytes);
        self.written.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Plays the made-up run up to a moment, drawing ten times a second as the thread does.
fn at(seconds: f64, clients: usize, look: Look, verbose: bool) -> Fake {
    let fake = Fake::new(u16::try_from(look.width).unwrap(), u16::try_from(look.rows).unwrap());
    let mut screen = Screen::new(fake.clone());
    let mut board = Board::new(verbose);
    let mut beats = demo::script(clients).into_iter().peekable();
    let end = Duration::from_secs_f64(seconds);
    let mut now = Duration::ZERO;
    while now <= end {
        let mut above = Vec::new();
        while let Some(beat) = beats.next_if(|beat| beat.at <= now) {
            above.extend(board.event(&beat.event, beat.at, &look));
        }
        let block = board.lines(now, &look);
        screen.frame(&above, &block, &look).unwrap();
        now += TICK;
    }
    fake
}

#[test]
fn a_run_of_eight_at_four_moments() {
    insta::assert_snapshot!(at(0.5, 8, look(80, 24), false).shows(), @"
    ⠴ client-1  base 1/3  wait for cloud-init                                   0 s
    ⠴ client-2            connecting                                            0 s
    ⠴ client-3            connecting                                            0 s
    ⠴ client-4            connecting                                            0 s
    ⠴ client-5            connecting                                            0 s
    ⠴ client-6            connecting                                            0 s
    ─────────────  provision 0/8 · 6 running                                    0 s
    ");
    insta::assert_snapshot!(at(4.2, 8, look(80, 24), false).shows(), @"
    = client-4  unchanged        1.2 s
    ⠹ client-1  base 3/3    open the firewall                                   0 s
    ⠹ client-2  docker 1/2  install docker                                      0 s
    ⠹ client-3  base 2/3    install packages                                    2 s
    ⠹ client-5  base 3/3    open the firewall                                   0 s
    ⠹ client-6              connecting                                          3 s
    ⠹ client-7  base 2/3    install packages                                    2 s
    ⠹ client-8  base 2/3    install packages                                    2 s
    ━────────────  provision 1/8 · 1 unchanged · 7 running                      4 s
    ");
    insta::assert_snapshot!(at(9.0, 8, look(80, 24), false).shows(), @"
    = client-4  unchanged        1.2 s
    ✗ client-6  unreachable      6.0 s  no answer on port 22 within 10 s
    ⠋ client-1  docker 1/2  install docker                                      4 s
    ⠋ client-2  docker 2/2  start docker                                        0 s
    ⠋ client-3  docker 1/2  install docker                                      3 s
    ⠋ client-5  docker 1/2  install docker                                      4 s
    ⠋ client-7  docker 2/2  start docker                                        0 s
    ⠋ client-8  docker 1/2  install docker                                      4 s
    ━━━──────────  provision 2/8 · 1 unchanged · 1 unreachable · 6 running      9 s
    ");
    insta::assert_snapshot!(at(60.0, 8, look(80, 24), false).shows(), @r#"
    = client-4  unchanged        1.2 s
    ✗ client-6  unreachable      6.0 s  no answer on port 22 within 10 s
    ✗ client-3  failed           9.5 s  install docker: apt-get ended with status…
    ✓ client-1  changed           22 s  release 20261120-101500 serves
    ✓ client-8  changed           22 s  release 20261120-101500 serves
    ↶ client-7  rolled back       22 s  to 20261113-090000 after "wait until healt…
    ✓ client-2  changed           23 s  release 20261120-101500 serves
    ✓ client-5  changed           24 s  release 20261120-101500 serves
    "#);
}

#[test]
fn quiet_clients_fold_where_the_screen_is_low() {
    insta::assert_snapshot!(at(4.2, 120, look(80, 12), false).shows(), @"
    = client-20   unchanged        1.4 s
    = client-28   unchanged        1.2 s
    = client-36   unchanged        1.6 s
    ⠹ client-1    base 3/3    open the firewall                                 0 s
    ⠹ client-2    docker 1/2  install docker                                    0 s
    ⠹ client-3    base 2/3    install packages                                  2 s
    ⠹ client-9    base 2/3    install packages                                  2 s
    ⠹ client-5    base 3/3    open the firewall                                 0 s
    ⠹ client-6                connecting                                        3 s
    ⠹ client-7    base 2/3    install packages                                  2 s
      … and 47 more running
    ─────────────  provision 5/120 · 5 unchanged · 54 running                   4 s
    ");
}

#[test]
fn a_narrow_screen_keeps_the_title_and_a_wide_one_has_it_all() {
    insta::assert_snapshot!(at(4.2, 4, look(40, 10), false).shows(), @"
    = client-4  unchanged        1.2 s
    ⠹ client-1  open the firewall       0 s
    ⠹ client-2  install docker          0 s
    ⠹ client-3  install packages        2 s
    ━━──────  provision 1/4             4 s
    ");
    insta::assert_snapshot!(at(4.2, 4, Look { unicode: false, ..look(120, 10) }, false).shows(), @"
    = client-4  unchanged        1.2 s
    - client-1  base 3/3    open the firewall                                                                           0 s
    - client-2  docker 1/2  install docker                                                                              0 s
    - client-3  base 2/3    install packages                                                                            2 s
    #####---------------  provision 1/4, 1 unchanged, 3 running                                                         4 s
    ");
}

#[test]
fn what_hosts_print_stands_above_when_asked_for() {
    insta::assert_snapshot!(at(2.2, 2, look(60, 16), true).shows(), @"
    client-1 │ amd64
    client-2 │ Get:2 http://deb.debian.org/debian trixie/main
    client-2 │ amd64
    client-1 │ Get:4 http://deb.debian.org/debian trixie/main
    client-1 │ amd64
    client-2 │ Get:3 http://deb.debian.org/debian trixie/main
    client-2 │ amd64
    client-2 │ Get:4 http://deb.debian.org/debian trixie/main
    client-2 │ amd64
    client-1 │ Get:5 http://deb.debian.org/debian trixie/main
    client-1 │ amd64
    client-2 │ Get:5 http://deb.debian.org/debian trixie/main
    client-2 │ amd64
    ⠹ client-1  base 2/3  install packages                  1 s
    ⠹ client-2  base 2/3  install packages                  0 s
    ──────────  provision 0/2 · 2 running                   2 s
    ");
}

#[test]
fn a_line_stays_where_it_is_while_its_client_runs() {
    let look = look(80, 24);
    let mut board = Board::new(false);
    let mut place = std::collections::HashMap::new();
    let mut finished = 0;
    for beat in demo::script(16) {
        finished += board.event(&beat.event, beat.at, &look).len();
        let lines = board.lines(beat.at, &look);
        for (at, line) in lines.iter().enumerate() {
            let text = line.paint(&look);
            let Some(name) = text.split(' ').nth(1).filter(|name| name.starts_with("client-")) else {
                continue;
            };
            // A line only ever moves up, when one above it ends.
            let before = place.insert(name.to_owned(), (at, finished));
            if let Some((before, ended)) = before {
                assert!(at == before || (at < before && finished > ended), "{name} from {before} to {at}");
            }
        }
    }
    assert_eq!(finished, 16);
}

#[test]
fn no_frame_is_wider_or_higher_than_the_screen() {
    for (columns, rows) in [(20, 4), (37, 6), (80, 24), (200, 50)] {
        let look = look(columns, rows);
        let mut board = Board::new(true);
        for beat in demo::script(60) {
            let above = board.event(&beat.event, beat.at, &look);
            let block = board.lines(beat.at, &look);
            assert!(block.len() < rows, "{} lines on {rows} rows", block.len());
            for line in above.iter().chain(&block) {
                let shown = line.clone().fit(columns - 1, look.ellipsis());
                assert!(shown.width() < columns);
            }
        }
    }
}

#[test]
fn a_frame_is_one_write_between_marks_and_erases_only_what_it_wrote_over() {
    let fake = at(2.0, 8, look(80, 24), false);
    let text = String::from_utf8(fake.written.lock().unwrap().clone()).unwrap();
    for frame in text.split("\u{1b}[?2026h").skip(1) {
        assert!(frame.ends_with("\u{1b}[?2026l"), "{frame:?}");
        let erased = frame.find("\u{1b}[K").unwrap_or(usize::MAX);
        assert!(frame.find("client-").is_none_or(|name| name < erased), "erased before it wrote: {frame:?}");
    }
}

#[test]
fn a_narrowed_window_leaves_no_remains() {
    let fake = Fake::new(80, 24);
    let mut screen = Screen::new(fake.clone());
    let line = |text: &str| Line::new().with(Role::Text, text);
    let long = "x".repeat(70);
    screen.frame(&[line("for good")], &[line(&long), line(&long)], &look(80, 24)).unwrap();
    // A real terminal wraps what it holds: each line of 70 columns now takes two rows of 40.
    let narrow = Fake::new(40, 24);
    {
        let mut parser = narrow.parser.lock().unwrap();
        parser.process(format!("for good\r\n{long}\r\n{long}").as_bytes());
    }
    screen.sink = narrow.clone();
    screen.frame(&[], &[line("short")], &look(40, 24)).unwrap();
    assert_eq!(narrow.shows(), "for good\nshort");
}

#[test]
fn the_thread_draws_and_leaves_only_what_is_for_good() {
    let fake = Fake::new(80, 24);
    let mut terminal = Terminal::new(fake.clone(), || (80, 24), look(80, 24), false);
    for beat in demo::script(4) {
        terminal.event(&beat.event);
    }
    terminal.stop();
    let shows = fake.shows();
    assert_eq!(shows.lines().count(), 4, "{shows}");
    assert!(shows.lines().all(|line| line.contains("client-")), "{shows}");
}

#[test]
fn a_pause_leaves_the_screen_to_a_question() {
    let fake = Fake::new(80, 24);
    let mut terminal = Terminal::new(fake.clone(), || (80, 24), look(80, 24), false);
    let beats = demo::script(4);
    let (start, rest) = beats.split_at(12);
    start.iter().for_each(|beat| terminal.event(&beat.event));
    terminal.pause();
    assert_eq!(fake.shows(), "");
    let written = fake.written.lock().unwrap().len();
    rest.iter().for_each(|beat| terminal.event(&beat.event));
    std::thread::sleep(TICK * 3);
    assert_eq!(fake.written.lock().unwrap().len(), written, "something was drawn during the pause");
    terminal.resume();
    terminal.stop();
    assert_eq!(fake.shows().lines().count(), 4);
}

#[test]
fn what_is_said_stands_above_and_a_glance_leaves_nothing_else() {
    let fake = Fake::new(40, 24);
    let mut terminal = Terminal::new(fake.clone(), || (40, 24), look(40, 24), true).fleeting();
    for beat in demo::script(4) {
        terminal.event(&beat.event);
    }
    terminal.say("\nno new step is started; running steps\u{1b}[2J are finished\n");
    terminal.finish(&Report::default());
    assert_eq!(fake.shows(), "no new step is started; running steps\nare finished");
}

#[test]
fn a_flood_of_output_is_bounded_and_counted() {
    let look = look(80, 24);
    let mut state = State::new(Board::new(true), look);
    let beats = demo::script(2);
    let output = beats.iter().find(|beat| matches!(beat.event.kind, EventKind::Output { .. })).unwrap();
    state.event(&beats[0].event, Instant::now());
    for _ in 0..10_000 {
        state.event(&output.event, Instant::now());
    }
    let lines = state.take_above();
    assert_eq!(lines.len(), MOST_WAITING + 1);
    let last = lines.last().unwrap().paint(&look);
    assert_eq!(last, "(8000 lines not shown; the journal has them)");
    assert!(text::width(&last) < 80);
}

#[test]
fn a_terminal_that_is_gone_does_not_end_the_run() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut terminal = Terminal::new(Gone, || (0, 0), look(80, 24), false);
    for beat in demo::script(4) {
        terminal.event(&beat.event);
    }
    terminal.stop();
}
